"""What is left of a device's speed once it is warm: its best pace, the pace it keeps, and the moment (the knee) when it fell back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from results.changes import SHORTEST, detect
from results.record import Samples

WINDOWS = 60
"""That a run is cut into, all of one length; each counts by its median."""
LAST = 4
"""The pace that is kept is that of the last such part of the run."""


class Pace(NamedTuple):
    """Latencies in seconds, times in seconds from the first timed sample."""

    peak_s: float
    """Of the fastest three windows in a row."""
    sustained_s: float
    """Of the last quarter."""
    knee_s: float | None
    """When it first became slower for good, by 2 % or more; None where it did not, or the windows are too few to tell."""
    window_s: float

    @property
    def kept(self) -> float:
        """Share of the best speed that is kept: sustained over peak, of inferences a second."""
        return self.peak_s / self.sustained_s


def pace(samples: Samples) -> Pace | None:
    """Of one long launch; None where it has not at least a sample in each of some windows, or no clock."""
    value, start_s = samples.value[samples.timed], samples.start_s[samples.timed]
    if not len(value) or not np.isfinite(start_s).all() or value.min() <= 0:
        return None
    length_s = float(start_s[-1] - start_s[0])
    medians = _medians(value, start_s - start_s[0], length_s)
    if len(medians) < 2 * SHORTEST:
        return None
    window_s = length_s / len(medians)
    of_three = [float(np.median(medians[i : i + SHORTEST])) for i in range(len(medians) - SHORTEST + 1)]
    slower = [change.at for change in detect(medians.tolist()).changes if change.ratio > 1]
    kept = float(np.median(medians[-max(1, len(medians) // LAST) :]))
    return Pace(min(of_three), kept, slower[0] * window_s if slower else None, window_s)


def _medians(value: npt.NDArray[np.float64], at_s: npt.NDArray[np.float64], length_s: float) -> npt.NDArray[np.float64]:
    """Of each window; the windows are fewer where the samples are so long that one would be empty."""
    count = min(WINDOWS, len(value) // 2)
    while count >= 2 * SHORTEST:
        index = np.minimum((at_s / length_s * count).astype(np.int64), count - 1) if length_s else np.zeros(len(value), np.int64)
        if len(np.unique(index)) == count:
            return np.array([np.median(value[index == window]) for window in range(count)])
        count -= 1
    return np.empty(0)
