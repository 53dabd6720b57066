"""A TFLite file of your own, measured as it is (method `float32`) on every backend that reads it, and judged on the data you name.

`tflite_file: {path: my.tflite, data: "npz_file(path=my.npz)"}`. Its answers are compared with those of LiteRT's reference kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.models import FileModel


@dataclass(frozen=True, slots=True)
class TFLiteFile(FileModel):
    suffix: ClassVar[str] = ".tflite"


MODEL = TFLiteFile
