"""MLPerf Tiny's own keyword features of 300 Speech Commands clips: to judge a network by, not to train one.

They are MFCC in the int8 of the benchmark's reference network. 200 clips test, 50 validate, and 50 calibrate (the `train` split).
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from harness.data import Batch, DataSpec, Source, Split, digest, stratified_split
from harness.data.sources.files import Pinned

FILE = Pinned(
    data="kws_mlperf_tiny",
    name="kws_mlperf_tiny_features_300.npz",
    size_bytes=193_317,
    sha256="2c69c617cd5a203558d35c6fdd3594da6a5274f6ce276b01c60c6288684eced3",
    how="it is not published: use data set `speech_commands`, or put the file into $ASSAY_DATA",
)
SALT = "assay kws_mlperf_tiny 1"
SHARES: dict[Split, Fraction] = {"test": Fraction(2, 3), "validation": Fraction(1, 6)}


@dataclass(frozen=True, slots=True)
class KwsMlperfTiny:
    @property
    def spec(self) -> DataSpec:
        return DataSpec((1, 49, 10), 12, "MLPerf Tiny keyword features (300 clips)")

    def source(self) -> Source:
        return FILE.source()

    def fingerprint(self) -> str:
        self.source()
        return digest(FILE.sha256, SALT, SHARES)

    def load(self, split: Split, size: int | None = None) -> Batch:
        features, labels = _features()
        indices = stratified_split(labels, SHARES, SALT)[split][:size]
        return Batch(features[indices], labels[indices])


@functools.cache
def _features() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    with np.load(io.BytesIO(FILE.read()), allow_pickle=False) as stored:
        quantized = stored["mfcc_int8"].astype(np.float32) - stored["mfcc_zero_point"].astype(np.float32)
        return (quantized * stored["mfcc_scale"])[:, None], stored["label"].astype(np.int64)


DATA = KwsMlperfTiny
