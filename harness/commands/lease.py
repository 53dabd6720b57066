"""`assay lease`: who has a device, and how to take it from one who is gone."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from harness.commands.options import InventoryOption, JsonOption
from results.printable import printable

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="One device, one user: who has which, and take it from one who is gone."
)


@app.command(name="list")
def list_(inventory: InventoryOption = None, json_: JsonOption = False) -> None:
    """Ask every device of the inventory who has it.

    \b
    Example:
      assay lease list --inventory devices.yaml
    """
    from harness.leases import rows
    from harness.show import columns
    from targets.inventory import load_inventory

    found = rows(load_inventory(inventory))
    if json_:
        print(json.dumps([dataclasses.asdict(row) for row in found], indent=1))
        return
    table = [
        {
            "target": row.target,
            "state": row.state,
            "holder": row.holder or row.reason or "",
            "since": row.since or "",
            "expires": "" if row.expires_s is None else f"in {row.expires_s} s",
            "token": "" if row.token is None else str(row.token),
        }
        for row in found
    ]
    print(printable(columns(table), lines=True))


@app.command(name="break")
def break_(
    target: Annotated[str, typer.Argument(metavar="TARGET")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Take a device from whoever has it: what runs under the lease is killed there, and can be recorded no more.

    \b
    Example:
      assay lease break kitchen --yes --inventory devices.yaml
    """
    from harness.errors import UserError, nearest
    from harness.leases import broken, rows
    from targets.inventory import load_inventory

    targets = load_inventory(inventory)
    if target not in targets:
        raise UserError(f"unknown target `{target}`.{nearest(target, targets)}")
    if not yes:
        (row,) = rows({target: targets[target]})
        whose = f"of {row.holder} since {row.since}" if row.state == "held" else f"({row.state})"
        typer.confirm(
            printable(f"Break the lease {whose} on {target}? What runs there under it is killed."), abort=True, err=True
        )
    row = broken(targets[target])
    if json_:
        print(json.dumps(dataclasses.asdict(row), indent=1))
    else:
        print(printable(f"{target} is free; it was {'held by ' + row.holder if row.holder else row.state}"))
