"""The two readers of the runner in C: what numpy and json write comes through bit for bit, and no bytes whatever do harm.

The program under test ends with a message at any read out of bounds, overflow or leak of the reader's limits (ASan and UBSan).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from harness.runners.reply import OutputFile, pack_inputs, read_outputs
from harness.toolchain import RUNNER

pytestmark = pytest.mark.toolchain

ROUNDS = 2_000_000 if os.environ.get("ASSAY_NIGHTLY") else 40_000
SOURCE = f"""
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "{RUNNER}/json.c"
#undef wrong
#define peek peek_npz
#define reader reader_npz
#define skip_space skip_space_npz
#define wrong wrong_npz
#include "{RUNNER}/npz.c"
"""
PROGRAM = r"""
static jmp_buf refused;
static int is_fuzzing;

void fail(const char *kind, const char *format, ...) {
    char message[3000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (is_fuzzing) longjmp(refused, 1);
    printf("%s: %s\n", kind, message);
    exit(3);
}

static uint64_t state;
static size_t below(size_t limit) { /* xorshift64 */
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return limit ? state % limit : 0;
}

/* A few bytes changed, or numbers put to their extremes, or the rest cut off. */
static size_t spoil(uint8_t *bytes, size_t size) {
    static const uint32_t extremes[] = {0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu};
    for (size_t times = 1 + below(4); times > 0 && size; times--) {
        size_t at = below(size), kind = below(8);
        if (kind < 4) bytes[at] = (uint8_t)below(256);
        else if (kind < 6 && size - at >= 4) memcpy(bytes + at, &extremes[below(9)], below(2) ? 4 : 2);
        else if (kind == 6 && size - at >= 2) memmove(bytes + at, bytes + at + 1, size - at - 1), size--;
        else if (kind == 7) size = at;
    }
    return size;
}

static void read_whole(const char *what, uint8_t *bytes, size_t size, json *values, int count) {
    npz_array arrays[64];
    if (*what == 'j') json_read("x", (char *)bytes, size, values);
    else if (*what == 'h') read_npy(bytes, size, "x", arrays);
    else npz_read(bytes, size, "x", arrays, count);
}

static void put_json(const json *value) {
    if (value->kind == JSON_STRING) {
        putchar('"');
        for (const char *c = value->text; *c; c++) *c == '"' || *c == '\\' || (unsigned char)*c < 32 ? printf("\\u%04x", *c) : putchar(*c);
        putchar('"');
    } else if (value->kind == JSON_NUMBER) printf("%.17g", value->number);
    else if (value->kind < JSON_NUMBER) fputs(KINDS[value->kind], stdout);
    else {
        const json *item = value + 1;
        putchar(value->kind == JSON_ARRAY ? '[' : '{');
        for (unsigned i = 0; i < value->count; i++) {
            if (i) putchar(',');
            put_json(item);
            item += item->span;
            if (value->kind == JSON_ARRAY) continue;
            putchar(':');
            put_json(item);
            item += item->span;
        }
        putchar(value->kind == JSON_ARRAY ? ']' : '}');
    }
}

int main(int words, char **word) { /* spoil|echo json|header|npz FILE (SEED ROUNDS | OUT) COUNT */
    static json values[JSON_MAX_VALUES];
    static uint8_t original[4 << 20];
    FILE *file = fopen(word[3], "rb");
    size_t size = fread(original, 1, sizeof original, file);
    int count = atoi(word[words - 1]);
    if (strcmp(word[1], "echo") == 0) {
        npz_array arrays[64];
        if (*word[2] == 'j') json_read("x", (char *)original, size, values), put_json(values);
        else npz_read(original, size, "x", arrays, count), printf("%zu", npz_write(word[4], arrays, count));
        return 0;
    }
    volatile long taken = 0, rounds = atol(word[5]);
    state = 88172645463325252u + strtoull(word[4], NULL, 10);
    is_fuzzing = 1;
    for (volatile long round = 0; round < rounds; round++) {
        uint8_t *volatile bytes = malloc(size + 1); /* of its own, and no longer than it must be: a read beyond it is seen */
        memcpy(bytes, original, size);
        size_t left = spoil(bytes, size);
        bytes = realloc(bytes, left ? left : 1);
        if (setjmp(refused) == 0) {
            read_whole(word[2], bytes, left, values, count);
            taken++;
        }
        free(bytes);
    }
    printf("%ld", taken);
    return 0;
}
"""
REQUEST = {
    "schema": 1, "nonce": "abc", "mode": "time", "inputs": ["requests/é/in0.npz", '"\\/\b\f\n\r\t'], "options": {"threads": 1, "x": None, "😀": []},
    "batch": 12, "batched": True, "sampling": {"min_s": 0.1, "a": -1.5e-7, "b": 1e300, "c": -0.0}, "deep": [[[[]], {}], False],
}  # fmt: skip
ARRAYS: list[npt.NDArray[Any]] = [
    np.arange(12, dtype="<f4").reshape(3, 4),
    np.array([True, False]),
    np.array(3, np.int8),
    np.zeros((0, 5), "<i8"),
    np.ones((2, 1, 2), "<u2"),
]


@pytest.fixture(scope="session")
def program(programs: Any) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    (programs.folder / "reading.c").write_text(SOURCE + PROGRAM)
    path = programs.checked(programs.folder / "reading.c")

    def run(*words: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([path, *map(str, words)], capture_output=True, timeout=600, check=False)

    return run


def content(kind: str) -> bytes:
    if kind == "json":
        return json.dumps(REQUEST).encode()
    if kind == "npz":
        return pack_inputs(ARRAYS)
    file = io.BytesIO()
    np.lib.format.write_array(file, ARRAYS[0])
    return file.getvalue()


@pytest.mark.parametrize("kind", ["json", "header", "npz"])
def test_spoiled_bytes_are_refused_or_read_and_do_no_harm(program: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(content(kind))
    result = program("spoil", kind, tmp_path / "file", 1, ROUNDS, len(ARRAYS))
    assert result.returncode == 0, result.stderr.decode()
    assert 0 < int(result.stdout) < ROUNDS  # some are still whole, where only a number or a space was changed; most are not


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_every_beginning_of_a_file_is_refused(program: Any, tmp_path: Path, kind: str) -> None:
    whole = content(kind)
    for length in range(1, len(whole), 1 if kind == "json" and os.environ.get("ASSAY_NIGHTLY") else 37):
        (tmp_path / "file").write_bytes(whole[:length])
        result = program("echo", kind, tmp_path / "file", tmp_path / "out.npz", len(ARRAYS))
        assert result.returncode == 3 and b"Error: " in result.stdout, result.stderr.decode()


def echoed(program: Any, folder: Path, packed: bytes, count: int) -> tuple[npt.NDArray[Any], ...]:
    """Read by the reader in C, written by its writer, read by the host's strict reader."""
    (folder / "in.npz").write_bytes(packed)
    result = program("echo", "npz", folder / "in.npz", folder / "out.npz", count)
    assert result.returncode == 0, result.stdout + result.stderr
    written = (folder / "out.npz").read_bytes()
    assert len(written) == int(result.stdout)
    with np.load(folder / "out.npz") as file:
        found = [file[f"out{index}"] for index in range(count)]
    tensors = [{"shape": list(array.shape), "dtype": array.dtype.str, "quantization": None} for array in found]
    return read_outputs(written, OutputFile.model_validate({"file": "out.npz", "size_bytes": len(written), "tensors": tensors}))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_arrays_come_through_bit_for_bit(program: Any, tmp_path: Path, data: st.DataObject) -> None:
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=5)
    types = st.sampled_from(["<f4", "|i1", "|u1", "<i2", "<u2", "<i4", "<i8", "|b1"])
    arrays = data.draw(st.lists(st_numpy.arrays(types, shapes), min_size=1, max_size=5))
    given_ones = [np.asarray(array) for array in arrays]
    for one, other in zip(given_ones, echoed(program, tmp_path, pack_inputs(given_ones), len(arrays)), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(program: Any, tmp_path: Path, version: tuple[int, int]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index, array in ((1, ARRAYS[1]), (0, ARRAYS[0])):  # in another order, too
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asarray(array), version=version)
            archive.writestr(f"in{index}.npy", file.getvalue())
        archive.comment = b"PK\x05\x06 a comment"
    first, second = echoed(program, tmp_path, packed.getvalue(), 2)
    assert np.array_equal(first, ARRAYS[0]) and np.array_equal(second, ARRAYS[1])


def test_what_was_changed_on_the_way_is_seen(program: Any, tmp_path: Path) -> None:
    packed = bytearray(content("npz"))
    packed[packed.index(np.float32(7).tobytes())] ^= 1
    (tmp_path / "file").write_bytes(packed)
    assert b"in0.npy: its checksum is another" in program("echo", "npz", tmp_path / "file", tmp_path / "out", len(ARRAYS)).stdout
    np.savez_compressed(tmp_path / "file.npz", in0=np.zeros(100))
    assert b"compressed or encrypted" in program("echo", "npz", tmp_path / "file.npz", tmp_path / "out", 1).stdout


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc é\n", max_size=4), inner, max_size=4), max_leaves=20,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON_VALUES, st.booleans())
def test_json_comes_through(program: Any, tmp_path: Path, value: Any, ascii_only: bool) -> None:
    (tmp_path / "file").write_text(json.dumps(value, ensure_ascii=ascii_only), encoding="utf-8")
    result = program("echo", "json", tmp_path / "file", "", 0)
    assert result.returncode == 0 and json.loads(result.stdout) == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "nul", "nulll", "tru", "+1", "01", "1.", ".5", "1e", "1e+", "-", "--1", "0x1", "1e999", "NaN", "Infinity", "1" * 70, '"', '"\\',
        '"\\x"', '"\\u12"', '"\\u12g4"', '"\\ud800"', '"\\ud800\\n"', '"\\ud800\\u0041"', '"\\udc00"', '"\\u0000"', '"\n"', '"\t"', "[", "[1", "[1,",
        "[1,]", "[,]", "[1 2]", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{1:1}", '{"a" 1}', "[}", "1 2", "[]]", "'a'", "\0", "[1]\0",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(program: Any, tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError):
        json.loads(text, parse_constant=lambda name: json.loads("no")) if text not in LIMITS else json.loads("no")
    (tmp_path / "file").write_text(text)
    result = program("echo", "json", tmp_path / "file", "", 0)
    assert result.returncode == 3 and b"x: not JSON" in result.stdout, result.stderr.decode()


LIMITS = ("1" * 70, "1e999", '"\\ud800"', '"\\ud800\\n"', '"\\ud800\\u0041"', '"\\udc00"', '"\\u0000"')
"""Python takes them; no request has them."""
