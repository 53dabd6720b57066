"""A file of a network as C for one device: what the backend `native` and `assay compile` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.compiler.choice import Vectors
from harness.compiler.emit import KERNELS, Program, emitted
from harness.compiler.frontend.network import load_network
from harness.compiler.pipeline import optimized
from harness.toolchain import preprocessed
from targets.target import Target

FLAGS = ("-fno-math-errno", "-fno-trapping-math")
"""Mathematical functions report by their result alone, so that loops over them become vector code; no result differs."""


def program_for(path: Path, shapes: Mapping[str, Sequence[int]], target: Target) -> Program:
    """`shapes` are those of the inputs. Unsupported, naming the node, where it cannot be."""
    return emitted(optimized(load_network(path, shapes)), vectors_of(target))


def vectors_of(target: Target) -> Vectors:
    """That its kernels are compiled with."""
    header = KERNELS / "vector.h"
    text = f'#include "{header.name}"\nHK_LANES HK_SUMS HK_LOOKS_UP HK_BY_LANE\n'
    lanes, sums, looks_up, by_lane = map(int, preprocessed(text, target, headers=[header]).split()[-4:])
    return Vectors(lanes, sums, bool(looks_up), bool(by_lane))
