"""Options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

InventoryOption = Annotated[
    Path | None, typer.Option("--inventory", metavar="FILE", help="Devices beside `local`. [default: $ASSAY_INVENTORY]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="A file, or a database URL. [default: $ASSAY_STORE, or store.db in the user's data folder]"
    ),
]


def store_url(given: str | None) -> str:
    if given or (given := os.environ.get("ASSAY_STORE")):
        return given
    from targets.data import data_root

    return str(data_root() / "store.db")
