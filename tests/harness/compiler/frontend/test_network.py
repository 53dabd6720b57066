from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.compiler.frontend.network import load_network
from harness.errors import Unsupported


def test_symbolic_dimensions_are_what_the_caller_says_else_1(network: Callable[..., Path]) -> None:
    path = network([("Relu", ["x"], ["y"], {})], {"x": ("float32", ["batch", 3, "width"])})
    assert load_network(path).types["y"].shape == (1, 3, 1)
    assert load_network(path, {"x": (4, 3, 7)}).types["y"].shape == (4, 3, 7)
    unknown = network([("Relu", ["x"], ["y"], {})], {"x": ("float32", [-1, 3])})
    assert load_network(unknown, {"x": (2, 3)}).types["y"].shape == (2, 3)


@pytest.mark.parametrize("shape", [(4, 3), (1, 5, 2), (0, 3, 2)])
def test_a_shape_that_the_file_does_not_allow_is_refused(network: Callable[..., Path], shape: tuple[int, ...]) -> None:
    path = network([("Relu", ["x"], ["y"], {})], {"x": ("float32", ["batch", 3, "width"])})
    with pytest.raises(Unsupported, match="written for shape"):
        load_network(path, {"x": shape})


def test_an_operator_that_is_not_compiled_is_named_with_its_node(network: Callable[..., Path]) -> None:
    with pytest.raises(Unsupported, match=r"node `NonZero_0` \(NonZero\): NonZero is not among"):
        load_network(network([("NonZero", ["x"], ["y"], {})], {"x": ("float32", [3])}))


def test_a_node_that_breaks_the_rules_is_unsupported_by_name(network: Callable[..., Path]) -> None:
    path = network([("Add", ["x", "k"], ["y"], {})], {"x": ("float32", [3])}, {"k": np.ones(4, np.float32)})
    with pytest.raises(Unsupported, match=r"`Add_0`.*broadcast"):
        load_network(path)
    path = network([("MaxPool", ["x"], ["y"], {})], {"x": ("float32", [1, 1, 3, 3])})
    with pytest.raises(Unsupported, match=r"`MaxPool_0`.*kernel_shape"):
        load_network(path)
    path = network([("Add", ["x", "k"], ["y"], {})], {"x": ("float32", [3]), "k": ("int64", [3])})
    with pytest.raises(Unsupported, match=r"`Add_0`.*float32 and int64"):
        load_network(path)
