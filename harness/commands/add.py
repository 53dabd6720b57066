"""`assay targets add`: a device looked at, and written into the inventory."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from harness.commands.options import InventoryOption, JsonOption
from results.printable import printable


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What suites will call it.")],
    ssh: Annotated[
        str, typer.Option("--ssh", metavar="USER@HOST[:PORT]", help="Where it is; a name of ~/.ssh/config will do.")
    ] = "",
    transport: Annotated[str, typer.Option("--transport", metavar="NAME", help="Another way to it, such as adb.")] = "",
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="Where that finds it; adb: serial number or HOST:PORT.")
    ] = "",
    key_file: Annotated[str, typer.Option("--key-file", metavar="FILE", help="[default: the agent's and the usual keys]")] = "",
    jump: Annotated[str, typer.Option("--jump", metavar="USER@HOST[:PORT]", help="The host it is reached through.")] = "",
    python: Annotated[str, typer.Option("--python", metavar="PATH", help="Interpreter there, or none. [default: python3]")] = "",
    work_dir: Annotated[str, typer.Option("--work-dir", metavar="DIR", help="[default: in the cache folder there]")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Repeat it.")] = None,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Look at a device and write its entry into the inventory, which may not exist yet.

    \b
    Examples:
      assay targets add shed --ssh pi@shed.local --inventory devices.yaml
      assay targets add phone --transport adb --address R58M123ABC --inventory devices.yaml
    """
    from harness.devices import add as add_device
    from harness.errors import UserError, nearest
    from harness.show import added_text
    from targets import transports
    from targets.address import Address, parse_address
    from targets.inventory import written_inventory
    from targets.target import Target

    if bool(ssh) == bool(transport):
        raise UserError("how is it reached? say either --ssh USER@HOST, or --transport and --address")
    if transport and transport not in transports.names():
        raise UserError(f"unknown transport `{transport}`.{nearest(transport, transports.names())}")
    path = written_inventory(inventory)
    where = parse_address(ssh) if ssh else Address("", address, 0)
    target = Target(
        name, transport or "ssh", address=where.host, port=where.port, user=where.user, key_file=key_file, jump=jump, python=python,
        work_dir=work_dir, tags=tuple(tag or ()),
    )  # fmt: skip
    added = add_device(path, target)
    print(printable(json.dumps(dataclasses.asdict(added), indent=1) if json_ else added_text(path, added), lines=True))
