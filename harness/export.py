"""Exported: the forms of one network (ONNX, TFLite, torch.export), each checked at once against the compressed module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compression import Numeric, Quantization


@dataclass(frozen=True, slots=True)
class Exported:
    """One form of one network on disk, and what it must answer.

    The examples are stored once, channels first and float32; `input_layout` says how this form wants them.
    """

    form: str
    """`onnx`, `onnx_qdq_u8s8`, `onnx_qdq_s8s8`, `tflite`, `tflite_int8`, `pt2`."""
    path: Path
    numeric: Numeric
    batch: int
    input_layout: str
    """`NCHW` as stored, or `NHWC`: 4-D inputs are transposed before they are sent."""
    quantization: Quantization | None
    facts: Mapping[str, Any]
    """Tool versions, operator counts, the host's own check of this form (max_abs_error, sqnr_db)."""
