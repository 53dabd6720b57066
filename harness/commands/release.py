"""`assay targets release`: a person says that a device in quarantine is mended."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands.options import StoreOption, store_url
from results.printable import printable


def release(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A target that `assay ls targets` shows in quarantine.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What was mended; kept in the store.")],
    store: StoreOption = None,
) -> None:
    """Let a device be used again that was put into quarantine because its faults came one after another.

    \b
    Example:
      assay targets release shed --reason "another power supply"
    """
    from harness.provenance import now
    from results.store import open_store

    with open_store(store_url(store), must_exist=True) as opened:
        found = opened.release(name, reason, now())
    print(printable(f"{name} may be used again; it was in quarantine since {found.since}: {found.reason}"))
