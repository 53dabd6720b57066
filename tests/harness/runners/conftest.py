"""The runner in C with a small network written by hand: two inputs, two layers, a float and a quantized output."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.runners.exchange import RUNNER as PYTHON_RUNNER
from harness.toolchain import RUNNER

NONCE = "0123456789abcdef"
SAMPLING = {"warmup_samples": 3, "warmup_s": 0.01, "min_samples": 6, "min_s": 0.03, "min_sample_s": 0.002}
SANITIZED = (
    "-std=gnu11",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)
MODEL = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "model.h"

/* x [2, 4] float or quantized, bias [2, 1]: out0 = relu(x @ weights) * 2 + bias, out1 = 8 bits of its sum. x[0][0] from 900 on is a command. */
#ifndef WEIGHTS_BYTES
#define WEIGHTS_BYTES 0
#endif
#ifndef LAYERS
#define LAYERS 2
#endif
static const int64_t x_shape[] = {2, 4}, bias_shape[] = {2, 1}, y_shape[] = {2, 3}, sum_shape[] = {2, 1};
#ifdef QUANTIZED
const model_tensor model_inputs[] = {{"x", MODEL_I8, 2, x_shape, 0.5f, -3}, {"bias", MODEL_F32, 2, bias_shape, 0, 0}};
#else
const model_tensor model_inputs[] = {{"x", MODEL_F32, 2, x_shape, 0, 0}, {"bias", MODEL_F32, 2, bias_shape, 0, 0}};
#endif
const model_tensor model_outputs[] = {{"y", MODEL_F32, 2, y_shape, 0, 0}, {"sum", MODEL_I8, 2, sum_shape, 0.25f, 7}};
const int model_input_count = 2, model_output_count = 2, model_layer_count = LAYERS;
const size_t model_weights_bytes = WEIGHTS_BYTES, model_arena_bytes = 6 * sizeof(float);
#ifndef FACTS
#define FACTS "{\"kernels\": [\"matmul\", \"add\"]}"
#endif
const char model_facts[] = FACTS;
const model_layer model_layers[] = {{"dense", "MatMul"}, {"bias", "Add"}};
int model_profiling;
static uint64_t spent[2];
static float *hidden;
static const float *weights, own_weights[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

int model_init(const void *blob, void *arena, int threads) {
    if (threads > 4) return EINVAL;
    if ((uintptr_t)arena % 64) return EFAULT;
    printf("printed by a network\n");
    hidden = arena;
    weights = blob ? blob : own_weights;
    return 0;
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

__attribute__((unused)) static void obey(int command) {
    static char page[4096];
    if (command == 900) raise(SIGSEGV);
    if (command == 901) for (;;) pause();
    if (command == 902) for (int i = 0; i < 8000; i++) if (write(3, page, sizeof page) < 0) _exit(9);
    if (command == 903) _exit(0);
    if (command == 904) raise(SIGILL);
    if (command == 905) { fputs("last words\n", stderr); _exit(5); }
    if (command == 906) usleep(500);
}

void model_run(const void *const inputs[], void *const outputs[]) {
    const float *bias = inputs[1];
    float *y = outputs[0];
    float x[8];
#ifdef QUANTIZED
    for (int i = 0; i < 8; i++) x[i] = 0.5f * (float)(((const int8_t *)inputs[0])[i] + 3);
#else
    memcpy(x, inputs[0], sizeof x);
    if (x[0] >= 900) obey((int)x[0]);
#endif
    uint64_t begin = model_profiling ? clock_ns() : 0;
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < 3; c++) {
            float sum = 0;
            for (int k = 0; k < 4; k++) sum += x[4 * r + k] * weights[3 * k + c];
            hidden[3 * r + c] = sum > 0 ? sum : 0;
        }
    uint64_t middle = model_profiling ? clock_ns() : 0;
    for (int r = 0; r < 2; r++) {
        float total = 0;
        for (int c = 0; c < 3; c++) total += y[3 * r + c] = 2 * hidden[3 * r + c] + bias[r];
        ((int8_t *)outputs[1])[r] = (int8_t)(total / 16);
    }
    if (model_profiling) spent[0] = middle - begin, spent[1] = clock_ns() - middle;
}

void model_profile(uint64_t *ns) { ns[0] += spent[0], ns[1] += spent[1]; }
"""
SAME_IN_PYTHON = """
import numpy as np

class Network:
    def __init__(self, options):
        self.options = options
        self.weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    def set_inputs(self, arrays):
        for array, tail in zip(arrays, (4, 1)):
            if array.dtype != np.float32 or array.shape != (2, tail):
                raise ValueError(f"cannot take {array.dtype}{array.shape}")
        self.x, self.bias = arrays
    def invoke(self):
        self.y = np.maximum(self.x @ self.weights, 0) * 2 + self.bias
    def outputs(self):
        return [self.y.copy(), (self.y.sum(axis=1, keepdims=True) / 16).astype(np.int8)]
    def output_quantization(self):
        return [None, (0.25, 7)]
    def facts(self):
        return {}
    def operators(self, runs):
        return [{"name": "dense", "op": "MatMul", "time_s": 1e-6}, {"name": "bias", "op": "Add", "time_s": 1e-6}]

def load(folder, file, options):
    return Network(options)
"""


class Device:
    """A folder laid out as `exchange` lays it out, and the two runners."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        (folder / "artifact").mkdir()
        shutil.copy(program, folder / "artifact" / "program")
        (folder / "same.py").write_text(SAME_IN_PYTHON)

    def request(self, mode: str, parts: Sequence[Sequence[npt.NDArray[Any]]], **more: Any) -> None:
        for index, arrays in enumerate(parts):
            np.savez(self.folder / f"in{index}.npz", **{f"in{i}": array for i, array in enumerate(arrays)})  # type: ignore[arg-type]
        document = {
            "schema": 1, "nonce": NONCE, "mode": mode, "backend": "same.py", "folder": "artifact", "files": ["program"],
            "options": {"threads": 1}, "inputs": [f"in{i}.npz" for i in range(len(parts))],
            "outputs": [f"out{i}.npz" for i in range(len(parts))], "batch": 2, "batched": True, "sampling": SAMPLING,
            "distributions": [], "sysfs": "/sys", "count_instructions": False, "cpus": None, "limit_s": 60.5, **more,
        }  # fmt: skip
        self.text = json.dumps({name: value for name, value in document.items() if value is not ...})
        (self.folder / "request.json").write_text(self.text)

    def started(self, python: bool = False) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", str(PYTHON_RUNNER)] if python else ["artifact/program"]
        return subprocess.run(
            [*command, "request.json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            errors="replace",
            check=False,
        )

    def run(self, *args: Any, status: int = 0, python: bool = False, **more: Any) -> dict[str, Any]:
        self.request(*args, **more)
        result = self.started(python)
        assert result.returncode == status, result.stderr
        begin, document, end = result.stdout.splitlines()
        assert (begin, end) == (f"ASSAY-BEGIN {NONCE}", f"ASSAY-END {NONCE}")
        fields: dict[str, Any] = json.loads(document)
        return fields

    def outputs(self, index: int = 0) -> list[npt.NDArray[Any]]:
        with np.load(self.folder / f"out{index}.npz", allow_pickle=False) as file:
            return [file[f"out{i}"] for i in range(len(file.files))]


def sanitized(folder: Path, sources: Sequence[Path], name: str, flags: Sequence[str] = ()) -> Path:
    """A program of this machine that ends with a message at the first read out of bounds, overflow or other undefined behaviour."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler (g++)")
    words = [*SANITIZED, *flags, f"-I{RUNNER}", *map(str, sources), "-lm", "-pthread", "-o", str(folder / name)]
    built = subprocess.run([compiler, *words], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / name


class Programs:
    """The network's program in its variants, each built once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.c"
        self.model.write_text(MODEL)
        self._built: dict[Sequence[str], Path] = {}

    def __call__(self, *flags: str) -> Path:
        if flags not in self._built:
            sources = [*sorted(RUNNER.glob("*.c")), self.model]
            self._built[flags] = sanitized(self.folder, sources, f"program{len(self._built)}", flags)
        return self._built[flags]

    def checked(self, source: Path) -> Path:
        """Another program, of one file that includes what it needs."""
        return sanitized(self.folder, [source], source.stem)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def device(tmp_path: Path, programs: Programs) -> Device:
    return Device(tmp_path, programs())


@pytest.fixture
def device_of(tmp_path: Path, programs: Programs) -> Any:
    """A device with a variant of the program."""
    return lambda *flags: Device(tmp_path, programs(*flags))


@pytest.fixture
def examples() -> Any:
    """rows -> [x, bias], of whole numbers so that sums are exact."""

    def make(rows: int, seed: int = 0) -> list[npt.NDArray[np.float32]]:
        rng = np.random.default_rng(seed)
        return [rng.integers(-9, 10, (rows, width)).astype(np.float32) for width in (4, 1)]

    return make


@pytest.fixture
def same_kind() -> Any:
    """Whether two JSON values have the same members of the same types everywhere, but for those of the names given."""

    def compare(ours: Any, theirs: Any, besides: Mapping[str, Any]) -> None:
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            for name in ours.keys() - besides.keys():
                compare(ours[name], theirs[name], besides)
        elif isinstance(ours, list) and ours and theirs:
            compare(ours[0], theirs[0], besides)
        else:
            numbers = (int, float)
            assert type(ours) is type(theirs) or (isinstance(ours, numbers) and isinstance(theirs, numbers))

    return compare
