"""`assay latency-table`: what each layer of a network takes on a device, by how it is pruned."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import InventoryOption, JsonOption, StoreOption, store_url
from results.printable import printable

SCHEMES = (
    "unstructured",
    "block-punched 4x1",
    "block-punched 8x1",
    "block-punched 16x1",
    "block-punched 8x4",
    "block-punched 16x4",
    "pattern",
)
SPARSITIES = (0.5, 0.75, 0.9)
SAMPLE_S = 2e-4
"""Least length of a sample: the whole is held against a profile of single inferences, so that neither has what interrupts long loops."""
EXAMPLES = 64
"""That pruned networks are evaluated on: few, for nothing of theirs is kept but times."""
PRUNER = f"scheme_map:sparsity=0.5,fine_tune_epochs=0,search_examples={EXAMPLES},calibration_samples={EXAMPLES}"


def latency_table(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="`name` or `name:key=value`.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.json")],
    target: Annotated[str, typer.Option("--target", "-t", metavar="T", help="Where to measure.")] = "local",
    backend: Annotated[str, typer.Option("--backend", "-b", metavar="B", help="One that profiles.")] = "native",
    scheme: Annotated[
        list[str] | None, typer.Option("--scheme", metavar="S", help=f"Repeat it. [default: {', '.join(SCHEMES)}]")
    ] = None,
    sparsity: Annotated[
        list[float] | None,
        typer.Option("--sparsity", metavar="SHARE", help=f"Repeat it. [default: {', '.join(map(str, SPARSITIES))}]"),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="METHOD", help="What prunes: it has parameters `scheme` and `sparsity`.")
    ] = PRUNER,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, max=100, help="Process launches of each network.")] = 5,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=3600, help="Least seconds of timing a launch.")] = 0.3,
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024)] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    store: StoreOption = None,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Measure what each layer of a network takes on a device under each pruning scheme and strength, for methods that search by it.

    \b
    Example:
      assay latency-table resnet8 --scheme "block-punched 16x1" --sparsity 0.5 --sparsity 0.75 -o table.json
    """
    from harness import plugins
    from harness.cache import cache_root, check_writable
    from harness.errors import UserError, nearest
    from harness.executor import Executor
    from harness.latency_table import write_table
    from harness.progress import Terminal
    from harness.show import columns as columns_text
    from harness.suite import Sampling
    from harness.tabulate import columns, tabulate
    from results.store import open_store
    from targets.inventory import load_inventory

    targets = load_inventory(inventory)
    if target not in targets:
        raise UserError(f"unknown target `{target}`.{nearest(target, targets)}")
    network, choice = plugins.parse_choice("models", model), plugins.parse_choice("backends", backend)
    if not all(0 < share < 1 for share in sparsity or ()):
        raise UserError("--sparsity: a share of the weights, above 0 and below 1")
    wanted = columns(plugins.parse_choice("methods", method), scheme or SCHEMES, sparsity or SPARSITIES)
    check_writable(out.resolve().parent, "output folder", 1 << 20)
    check_writable(cache_root(), "cache folder ($ASSAY_CACHE)", 256 << 20)
    sampling = Sampling(min_s=seconds, min_sample_s=SAMPLE_S, evaluation_size=EXAMPLES)
    with (
        open_store(store_url(store)) as opened,
        Terminal(1) as terminal,
        Executor(os.cpu_count() or 1, terminal.step) as executor,
    ):
        table = tabulate(
            network, targets[target], choice, wanted, rounds=rounds, threads=threads, sampling=sampling, seed=seed, store=opened,
            executor=executor, observer=terminal,
        )  # fmt: skip
    write_table(table, out)
    rows = [
        {
            "scheme": prediction.network.scheme,
            "sparsity": f"{prediction.network.sparsity:g}",
            "measured": f"{prediction.measured_s * 1e6:.1f} µs",
            "from layers": f"{prediction.predicted_s * 1e6:.1f} µs",
            "error": f"{prediction.error:+.1%}",
        }
        for prediction in table.predictions()
    ]
    left_out = "".join(f"\nleft out: {left.scheme} at {left.sparsity:g}: {left.reason}" for left in table.left_out)
    gap = (
        f"whole networks took {table.gap.typical:.1%} of what their layers add up to, which is counted above, and at most "
        f"{table.gap.most:.1%}, which is counted where a budget must hold"
    )
    print(
        printable(
            json.dumps(rows, indent=1) if json_ else f"{columns_text(rows)}\n{gap}{left_out}\nlatency table: {out}", lines=True
        )
    )
