"""What a runner says, read without trust: one JSON document between two marks, and its output files.

A device may be broken or hostile: everything is bounded in size, every number finite, and what can be held against something else is.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from harness.errors import RunnerError
from harness.suite import Sampling
from results.profile import MAX_OPERATORS

SCHEMA = 1
"""Version of the request and of the document. 1: first."""
MAX_DOCUMENT_BYTES = 16 << 20
MAX_RANK = 16
NPZ_SPARE_BYTES = 1 << 16
"""What an npz file may be larger than its arrays: zip and npy headers."""
DTYPES = tuple(np.dtype(code).newbyteorder("<").str for code in ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d"))
"""Types a tensor may have."""

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_START = len(_NPY_MAGIC) + 2
"""Where an npy file's header begins, after its own length in two bytes."""

Mode = Literal["answer", "time", "profile"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Word = Annotated[str, Field(max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Quantized(_Part):
    """real = scale * (stored - zero_point)."""

    scale: Positive
    zero_point: Annotated[int, Field(ge=-(2**31), lt=2**31)]


class Tensor(_Part):
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(max_length=MAX_RANK)]
    dtype: Word
    quantization: Quantized | None

    @model_validator(mode="after")
    def _is_known(self) -> Tensor:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype} is none of {', '.join(DTYPES)}")
        return self

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class OutputFile(_Part):
    file: Word
    size_bytes: Size
    tensors: Annotated[list[Tensor], Field(min_length=1, max_length=1000)]


class Software(_Part):
    """What runs the runner: `CPython` and its version, or `C` and the compiler's."""

    implementation: Word
    version: Word


class Clock(_Part):
    name: Word
    step_s: Positive


class Memory(_Part):
    """From /proc/self/status; null where the device has none."""

    rss_before_load_bytes: Size | None
    """VmRSS with the interpreter and NumPy, before the backend's `load`."""
    rss_after_load_bytes: Size | None
    peak_rss_bytes: Size | None
    """VmHWM at the end of the timing, before outputs are written."""


class Process(_Part):
    cpu_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    voluntary_switches: Count
    involuntary_switches: Count
    minor_faults: Count
    major_faults: Count
    affinity: Annotated[list[Count], Field(max_length=4096)] | None


class State(_Part):
    monotonic_s: Annotated[float, Field(allow_inf_nan=False)]
    frequency_hz: dict[Word, Annotated[float, Field(allow_inf_nan=False)]] | None
    celsius: dict[Word, Annotated[float, Field(allow_inf_nan=False)]] | None
    reason: Word | None


class Warmup(_Part):
    samples: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    capped: bool
    """The cap on warm-up time came before the least number of samples."""
    least_sample_s: Positive
    """How long a sample had to last: what was asked, or more where the clock or the number of samples demanded it."""


class Columns(_Part):
    """Samples in order, warm-up first."""

    start_ns: list[Count]
    duration_ns: list[Count]
    loops: list[Annotated[int, Field(ge=1, lt=2**32)]]
    timed: list[bool]
    instructions: list[Count] | None = None
    """Executed while the sample's inferences ran, in the process and its threads, without the kernel's."""
    instructions_reason: Word | None = None
    """Why there are none although they were asked for."""

    @model_validator(mode="after")
    def _agrees(self) -> Columns:
        counted = self.start_ns if self.instructions is None else self.instructions
        lengths = {len(self.start_ns), len(self.duration_ns), len(self.loops), len(self.timed), len(counted)}
        if len(lengths) != 1:
            raise ValueError(f"sample columns have different lengths: {sorted(lengths)}")
        if self.instructions is not None and self.instructions_reason is not None:
            raise ValueError("instructions, and a reason why there are none")
        if self.timed != sorted(self.timed):
            raise ValueError("a warm-up sample follows a timed one")
        ends = [start + duration for start, duration in zip(self.start_ns, self.duration_ns, strict=True)]
        if any(end > following for end, following in zip(ends, self.start_ns[1:], strict=False)):
            raise ValueError("samples overlap: the clock went backwards")
        if any(duration == 0 for duration, timed in zip(self.duration_ns, self.timed, strict=True) if timed):
            raise ValueError("a timed sample lasts no time")
        return self


class OperatorTime(_Part):
    """One operator of the network as the runtime's own profiler accounts for it."""

    name: Word
    op: Word
    time_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Typical of the profiled inferences."""


class Failure(_Part):
    kind: Annotated[str, Field(alias="class", max_length=200)]
    message: Annotated[str, Field(max_length=2000)]


class Document(_Part):
    """What the runner says of one launch that went well."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    nonce: Word
    mode: Mode
    load_s: Positive
    clock: Clock
    memory: Memory
    facts: dict[str, JsonValue]
    """The network's own: runtime version, delegate really used, share of operators it took, threads."""
    runner: Software
    versions: dict[Word, Word | None]
    """Of the distributions that were asked for."""
    outputs: Annotated[list[OutputFile], Field(min_length=1)]
    samples: Columns | None = None
    warmup: Warmup | None = None
    state_before: State | None = None
    state_after: State | None = None
    process_before: Process | None = None
    process_after: Process | None = None
    operators: Annotated[list[OperatorTime], Field(max_length=MAX_OPERATORS)] | None = None
    """In the order they run."""

    @model_validator(mode="after")
    def _is_whole(self) -> Document:
        timing = (self.samples, self.warmup, self.state_before, self.state_after, self.process_before, self.process_after)
        if any((part is None) == (self.mode == "time") for part in timing):
            raise ValueError(
                f"a document of mode {self.mode} must {'have' if self.mode == 'time' else 'not have'} every part of a timing"
            )
        if (self.operators is None) == (self.mode == "profile"):
            raise ValueError(f"a document of mode {self.mode} must {'have' if self.mode == 'profile' else 'not have'} operators")
        return self


class _Failed(_Part):
    schema_version: Annotated[Literal[1], Field(alias="schema")]
    nonce: Word
    mode: Mode
    error: Failure


def parse_reply(stdout: bytes, nonce: str) -> Document | Failure:
    """The document between the marks of this nonce; RunnerError for anything else."""
    fields = _fields(_between_marks(stdout, nonce))
    kind = _Failed if "error" in fields else Document
    try:
        reply = kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][:5])
        raise RunnerError(f"the runner's document is not valid: {where}: {first['msg']} ({error.error_count()} errors)") from None
    if reply.nonce != nonce:
        raise RunnerError("the runner's document answers another request: its nonce is not the one that was sent")
    return reply.error if isinstance(reply, _Failed) else reply


def check_timing(document: Document, sampling: Sampling, wall_s: float) -> Columns:
    """The samples, once they agree with what was asked and with how long the command took here."""
    columns = document.samples
    if columns is None:
        raise RunnerError("the runner's document has no samples although it was asked to time")
    timed = [duration for duration, is_timed in zip(columns.duration_ns, columns.timed, strict=True) if is_timed]
    if len(timed) < sampling.min_samples or sum(timed) < 1e9 * sampling.min_s:
        raise RunnerError(
            f"the runner stopped early: {len(timed)} timed samples over {sum(timed) / 1e9:.3g} s, "
            f"asked for {sampling.min_samples} and {sampling.min_s:g} s"
        )
    spent = (columns.start_ns[-1] + columns.duration_ns[-1] - columns.start_ns[0]) / 1e9
    if spent > 1.05 * wall_s + 0.1:
        raise RunnerError(f"the runner's clock cannot be right: samples of {spent:.3g} s in a command that took {wall_s:.3g} s")
    return columns


def check_affinity(document: Document, cpus: Sequence[int] | None) -> None:
    """That the timed process was bound to the CPUs that were asked for, at its beginning and still at its end."""
    for process in (document.process_before, document.process_after):
        if cpus is not None and process is not None and sorted(process.affinity or ()) != sorted(cpus):
            raise RunnerError(f"the runner was to be bound to CPUs {list(cpus)}; it ran on {process.affinity}")


def read_outputs(content: bytes, file: OutputFile) -> tuple[npt.NDArray[Any], ...]:
    """The arrays of an npz file, each exactly as the document described it; nothing is unpickled, nothing grows on reading."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {info.filename: info for info in archive.infolist()}
            names = [f"out{index}.npy" for index in range(len(file.tensors))]
            if sorted(found) != sorted(names):
                raise RunnerError(f"output file {file.file} holds {sorted(found)[:5]}, not {names[:5]}")
            return tuple(_array(archive, found[name], tensor) for name, tensor in zip(names, file.tensors, strict=True))
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError, struct.error) as error:  # all that zipfile raises
        raise RunnerError(f"output file {file.file} is not an npz file: {error}") from error


def real(array: npt.NDArray[Any], quantization: Quantized | None) -> npt.NDArray[Any]:
    """Real values of a stored tensor: float32 for a quantized one, any other as it is."""
    if quantization is None:
        return array
    return (np.float32(quantization.scale) * (array.astype(np.float32) - np.float32(quantization.zero_point))).astype(np.float32)


def pack_inputs(inputs: Sequence[npt.NDArray[Any]]) -> bytes:
    """in0, in1, ... as the runner reads them."""
    buffer = io.BytesIO()
    np.savez(buffer, **{f"in{index}": np.asarray(array, order="C") for index, array in enumerate(inputs)})  # type: ignore[arg-type]
    return buffer.getvalue()


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tensor: Tensor) -> npt.NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > tensor.size_bytes + NPZ_SPARE_BYTES:
        raise RunnerError(f"output {info.filename} has {info.file_size} bytes, compressed or more than its {tensor.size_bytes}")
    content = archive.read(info)
    end = _NPY_START + int.from_bytes(content[_NPY_START - 2 : _NPY_START], "little")
    header, values = content[_NPY_START:end].strip(), content[end:]
    # Compared as text, not parsed: NumPy writes it in this one way, and what is not parsed cannot be abused.
    expected = f"{{'descr': '{tensor.dtype}', 'fortran_order': False, 'shape': {tuple(tensor.shape)}, }}".encode()
    if not content.startswith(_NPY_MAGIC) or header != expected or len(values) != tensor.size_bytes:
        raise RunnerError(f"output {info.filename} is {header[:200]!r} with {len(values)} bytes, described as {expected!r}")
    return np.frombuffer(values, np.dtype(tensor.dtype)).reshape(tensor.shape)


def _between_marks(stdout: bytes, nonce: str) -> str:
    lines = stdout.decode("utf-8", "replace").splitlines()
    begin, end = f"ASSAY-BEGIN {nonce}", f"ASSAY-END {nonce}"
    if lines.count(begin) != 1 or lines.count(end) != 1 or lines.index(end) < lines.index(begin):
        others = any(line.startswith("ASSAY-BEGIN ") and line != begin for line in lines)
        what = "a document of another request (replayed?)" if others else f"{len(stdout)} bytes without one whole document"
        raise RunnerError(f"the runner's output is not an answer to this request: {what}")
    return "\n".join(lines[lines.index(begin) + 1 : lines.index(end)])


def _fields(text: str) -> Mapping[str, Any]:
    """The JSON object, with every number finite."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise RunnerError(f"the runner's document has {len(text)} characters, more than {MAX_DOCUMENT_BYTES}")
    try:
        fields = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RunnerError(f"the runner's document is not JSON: {str(error)[:200]}") from error
    if not isinstance(fields, dict):
        raise RunnerError("the runner's document is not a JSON object")
    return fields


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value
