"""`assay compile`: a network as C that anyone's program can call, with what builds it, and built for one device."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compiler.emit import Program, comment
from harness.compiler.program import FLAGS, program_for
from harness.errors import BuildError, Unsupported, UserError, nearest
from harness.forms.user_file import input_shapes, inspect
from harness.toolchain import RUNNER, TRIPLES, compiled, machine_flags
from targets.target import Target

MAKEFILE = """\
# Builds the program and a library of the network; any C compiler will do:
#     make                                     cc, for this machine
#     make CC=clang MACHINE=-march=armv8.2-a   for another CPU
#     make CC="python -m ziglang cc -target {triple}" MACHINE={cpu} LDFLAGS="-static -s"
# The last line is how {program} was built, by what `pip install ziglang` brings.
MACHINE ?= {machine}
CFLAGS ?= -O3
ALL_CFLAGS = -std=gnu11 {options} $(MACHINE) $(CFLAGS)

all: network libnetwork.a

network: main.o model.o
\t$(CC) $(LDFLAGS) -o $@ main.o model.o -lm -pthread

libnetwork.a: model.o
\t$(AR) rcs $@ model.o

main.o: main.c network.h model.h
model.o: model.c model.h

%.o: %.c
\t$(CC) $(ALL_CFLAGS) -c -o $@ $<

clean:
\trm -f network libnetwork.a main.o model.o

.PHONY: all clean
"""
HEADER = """\
/* {title}: a network that `assay compile` made into C. All that a program needs of it:

       static _Alignas(64) char arena[NETWORK_ARENA_BYTES];
       model_init(weights, arena, 1);     the content of weights.bin, 64-byte aligned; it must stay where it is. On one thread. 0, or an errno
       model_run(inputs, outputs);        as often as you like, from one thread at a time: it keeps its state in the arena

{tensors}

   A tensor is its numbers in row-major order, 64-byte aligned; no two may overlap. model.h says the rest. Link model.c, -lm, -pthread. */
#ifndef NETWORK_H
#define NETWORK_H

#ifdef __cplusplus
extern "C" {{
#endif
#include "model.h"
#ifdef __cplusplus
}}
#endif

{sizes}

#endif
"""
MAIN = RUNNER.parent / "plain" / "main.c"


@dataclass(frozen=True, slots=True)
class CompiledFile:
    """What was written, and what the compiler says of the network."""

    folder: Path
    files: Mapping[str, int]
    """Name -> bytes."""
    program: str
    """The one of the files that runs on the target."""
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "files": dict(self.files), "program": self.program, "facts": dict(self.facts)}

    def text(self) -> str:
        lines = [f"{self.folder / name}  {size} bytes" for name, size in self.files.items()]
        facts = self.facts
        kernels = ", ".join(f"{count} {name}" for name, count in facts["kernels"].items())
        return "\n".join(
            (
                *lines,
                f"{facts['macs']} multiply-adds, {facts['weights_bytes']} bytes of weights, {facts['arena_bytes']} bytes to work in",
                f"layers by kernel: {kernels}",
                f"without arguments it says what it takes: {self.folder / self.program}",
            )
        )


def compile_to(file: Path, target: Target, folder: Path, *, batch: int | None, dims: Mapping[str, int]) -> CompiledFile:
    """UserError before anything is compiled, BuildError that names the node where the network cannot be."""
    if target.kind != "cpu":
        raise UserError(f"programs are compiled for CPUs, and `{target.name}` is a {target.kind}")
    if file.suffix != ".onnx":
        raise UserError(f"{file}: ONNX files are compiled, which end in .onnx")
    sizes = _sizes(file, input_shapes(file), batch, dims)
    inputs = {tensor["name"]: tensor["shape"] for tensor in inspect(file, sizes)["inputs"]}
    try:
        made = program_for(file, inputs, target)
        program = f"network-{machine_flags(target)[1].partition('-')[0]}"
    except Unsupported as error:
        raise BuildError(f"{file} cannot be compiled: {error}") from error
    _write(folder, file, made, target, program)
    sources, headers = (folder / "main.c", folder / "model.c"), (folder / "network.h", folder / "model.h")
    shutil.copyfile(compiled(sources, target, headers=headers, flags=FLAGS), folder / program)
    (folder / program).chmod(0o755)
    names = ("network.h", "model.h", "model.c", "weights.bin", "main.c", "Makefile", program)
    return CompiledFile(folder, {name: (folder / name).stat().st_size for name in names}, program, made.facts)


def target_of(name: str, inventory: Mapping[str, Target]) -> Target:
    """A device of the inventory, or any device of an instruction set."""
    if name in inventory:
        return inventory[name]
    if name in TRIPLES:
        return Target(name, isa=name, cpu="baseline")
    raise UserError(
        f"unknown target `{name}`.{nearest(name, [*inventory, *TRIPLES])} A target is a device of the inventory (`assay ls targets`), "
        f"or an instruction set: {', '.join(TRIPLES)}"
    )


def _sizes(file: Path, shapes: Mapping[str, list[int | str]], batch: int | None, dims: Mapping[str, int]) -> dict[str, int]:
    """Of every dimension that the file leaves open; a batch is the first of each input."""
    sizes = dict(dims)
    if batch is not None:
        for name, shape in shapes.items():
            if shape and isinstance(shape[0], str):
                sizes.setdefault(shape[0], batch)
            elif shape and shape[0] != batch:
                raise UserError(f"{file}: input `{name}` is written for batch {shape[0]}, not for {batch}")
    for name, shape in shapes.items():
        if missing := [size for size in shape if isinstance(size, str) and size not in sizes]:
            asked = " ".join(f"--dim {shlex.quote(f'{size}=SIZE')}" for size in dict.fromkeys(missing))
            raise UserError(
                f"{file}: input `{name}` is [{', '.join(map(str, shape))}], and a program has its sizes inside. Say {asked}"
                + (", or --batch N for the first" if missing[0] == shape[0] else "")
            )
    return sizes


def _write(folder: Path, file: Path, made: Program, target: Target, program: str) -> None:
    _, triple, cpu = machine_flags(target)
    machine = "-march=native" if cpu == "-mcpu=native" else ""
    makefile = MAKEFILE.format(program=program, triple=triple, cpu=cpu, options=" ".join(FLAGS), machine=machine)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.c").write_text(made.source, encoding="utf-8")
    (folder / "weights.bin").write_bytes(made.weights)
    (folder / "network.h").write_text(_header(file.name, made), encoding="utf-8")
    (folder / "Makefile").write_text(makefile, encoding="utf-8")
    shutil.copyfile(RUNNER / "model.h", folder / "model.h")
    shutil.copyfile(MAIN, folder / "main.c")


def _header(title: str, made: Program) -> str:
    tensors: list[str] = []
    sizes = {"WEIGHTS": made.facts["weights_bytes"], "ARENA": made.facts["arena_bytes"]}
    for kind, types in (("inputs", made.inputs), ("outputs", made.outputs)):
        for index, (name, found) in enumerate(types.items()):
            tensors.append(f"       {kind}[{index}]  {comment(name)}: {found}")
            sizes[f"{kind.removesuffix('s').upper()}_{index}"] = found.size_bytes
    lines = (f"#define NETWORK_{name}_BYTES {size}" for name, size in sizes.items())
    return HEADER.format(title=comment(title), tensors="\n".join(tensors), sizes="\n".join(lines))
