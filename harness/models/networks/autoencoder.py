"""The fully connected autoencoder of MLPerf Tiny's anomaly detection (Banbury et al. 2021, arXiv:2106.07597)."""

from __future__ import annotations

import itertools
from collections import OrderedDict

from torch import nn


def autoencoder(inputs: int, width: int, code: int) -> nn.Sequential:
    """[n, inputs] -> [n, inputs] through four layers of `width`, one of `code`, and four of `width` again; batch-norm and ReLU after each."""
    widths = (inputs, *[width] * 4, code, *[width] * 4)
    layers = OrderedDict[str, nn.Module]()
    for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        layers[f"linear{number}"] = nn.Linear(before, after)
        layers[f"bn{number}"] = nn.BatchNorm1d(after)
        layers[f"relu{number}"] = nn.ReLU()
    layers["output"] = nn.Linear(width, inputs)
    return nn.Sequential(layers)
