"""`assay compile`: an ONNX file as C for anyone's program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import InventoryOption, JsonOption
from results.printable import printable


def compile_(
    file: Annotated[Path, typer.Argument(metavar="MODEL.onnx")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder of the sources and of the program.")],
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="T", help="A device of the inventory, or an instruction set such as aarch64.")
    ] = "local",
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", min=1, help="Size of the inputs' first dimension, where it is symbolic.")
    ] = None,
    dim: Annotated[
        list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="Size of a symbolic dimension; repeat it.")
    ] = None,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Compile a network to C: sources, the header to call it by, its weights, a Makefile, and the program for one device.

    \b
    Examples:
      assay compile model.onnx -o model
      assay compile model.onnx --target aarch64 --batch 1 -o model
    """
    from harness.bench import parse_dims
    from harness.cache import cache_root, check_writable
    from harness.compile import compile_to, target_of
    from targets.inventory import load_inventory

    device = target_of(target, load_inventory(inventory))
    sizes = parse_dims(dim or [])
    check_writable(out, "output folder", 16 << 20)
    check_writable(cache_root(), "cache folder ($ASSAY_CACHE)", 256 << 20)
    made = compile_to(file, device, out, batch=batch, dims=sizes)
    print(printable(json.dumps(made.to_json(), indent=1) if json_ else made.text(), lines=True))
