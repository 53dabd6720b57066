"""Criterion: what a network's outputs mean, and the metrics it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from harness.errors import WrongAnswer
from results.record import Samples

if TYPE_CHECKING:
    from harness.data import Batch

Array = npt.NDArray[Any]
Metric = Literal["top1", "top5", "f1", "auc"]

METHODS: Mapping[Metric, str] = {
    "top1": "largest of the network's outputs is the label",
    "top5": "label is among the network's five largest outputs",
    "f1": "class of the network's largest output",
    "auc": "score of label 1: output 1 less output 0, or the mean squared error of a reconstruction",
}
"""What a sample of each metric is, in the words of a record."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """The first metric is the one that tables show; all are recorded."""

    metrics: tuple[Metric, ...] = ("top1",)
    outputs: Literal["class_scores", "reconstruction"] = "class_scores"
    """`class_scores`: [n, classes], before softmax, trained by cross-entropy. `reconstruction`: the inputs over again, trained by squared
    error; the worse, the more of an anomaly (label 1)."""

    def judge(self, metric: Metric, outputs: Array, batch: Batch) -> Samples:
        """One sample an example, or one a group of them, in their order, for `results.quality`; WrongAnswer where outputs cannot be judged."""
        wanted = batch.inputs.shape if self.outputs == "reconstruction" else (len(batch), *outputs.shape[1:2])
        if outputs.shape != wanted or outputs.ndim < 2:
            kind = "a reconstruction" if self.outputs == "reconstruction" else "class scores"
            raise WrongAnswer(f"outputs of shape {list(outputs.shape)} are not {kind} of {len(batch)} examples")
        rows = np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
        if not rows.all():
            raise WrongAnswer(f"{int((~rows).sum())} of {len(outputs)} examples have outputs that are not finite")
        values, labels = _VALUES[metric](self, outputs, batch), batch.labels
        if batch.groups is not None:
            _, first, group = np.unique(batch.groups, return_index=True, return_inverse=True)
            values, labels = np.bincount(group, values) / np.bincount(group), labels[first]
        return Samples.of(values, labels=labels)


CLASSIFICATION = Criterion()


def _hits(_criterion: Criterion, outputs: Array, batch: Batch) -> Array:
    return np.asarray(outputs.argmax(axis=1) == batch.labels)


def _top5(_criterion: Criterion, outputs: Array, batch: Batch) -> Array:
    """Ties go to the smaller index, as with `argmax`."""
    best = np.argsort(-outputs, axis=1, kind="stable")[:, :5]
    return np.asarray((best == batch.labels[:, None]).any(axis=1))


def _classes(_criterion: Criterion, outputs: Array, _batch: Batch) -> Array:
    return np.asarray(outputs.argmax(axis=1))


def _scores(criterion: Criterion, outputs: Array, batch: Batch) -> Array:
    if criterion.outputs == "reconstruction":
        squares: Array = (outputs.astype(np.float64) - batch.inputs) ** 2
        return np.asarray(squares.reshape(len(batch), -1).mean(axis=1))
    if outputs.shape[1] != 2:
        raise WrongAnswer(f"the area under the ROC curve needs scores of 2 classes, not of {outputs.shape[1]}")
    return np.asarray(outputs[:, 1].astype(np.float64) - outputs[:, 0])


_VALUES = {"top1": _hits, "top5": _top5, "f1": _classes, "auc": _scores}
