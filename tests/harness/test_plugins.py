"""Plug-ins are found by file name, validated strictly, and a wrong name says which was meant."""

from __future__ import annotations

import dataclasses

import pytest

from harness import plugins
from harness.errors import UserError
from harness.plugins import Choice, matches

ALL = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]


@pytest.mark.parametrize(("family", "name"), ALL)
def test_every_plugin_is_a_documented_frozen_dataclass_with_defaults(family: str, name: str) -> None:
    plugin = plugins.load(family, name)
    assert plugins.summary(family, name)
    assert dataclasses.fields(plugin) is not None and plugin.__dataclass_params__.frozen
    fields = [f for f in dataclasses.fields(plugin) if f.default is f.default_factory is dataclasses.MISSING]
    required = {f.name: "x" if f.type == "str" else 0.5 for f in fields}
    assert plugins.resolve(family, name, required) == Choice(name, tuple(required.items()))
    if required:
        with pytest.raises(UserError, match="is required"):
            plugins.resolve(family, name, {})
    assert plugins.path(family, name).name == f"{name}.py"


def test_listing_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from harness import plugins\n"
        "for f in plugins.FAMILIES:\n"
        "    for n in plugins.names(f): plugins.parameters(f, n)\n"
        "print([m for m in ('torch','onnx','onnxruntime','sklearn','pandas','litert_torch','sqlalchemy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_unknown_names_say_what_was_meant() -> None:
    with pytest.raises(UserError, match="Did you mean `int8_ptq`"):
        plugins.load("methods", "int8_ptk")
    with pytest.raises(UserError, match=r"unknown parameter `sparcity` of method `magnitude_prune`\. Did you mean `sparsity`"):
        plugins.resolve("methods", "magnitude_prune", {"sparcity": 0.5})
    with pytest.raises(UserError, match="It takes none"):
        plugins.resolve("methods", "float32", {"x": 1})


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("mlp:hidden=[32, 16],epochs=3", (("hidden", (32, 16)), ("epochs", 3))),
        ("mlp(hidden=[32, 16], epochs=3)", (("hidden", (32, 16)), ("epochs", 3))),
        ("mlp(data=npz_file(path=a.npz), epochs=3)", (("data", "npz_file(path=a.npz)"), ("epochs", 3))),
        ("mlp(data=imagenet_folder(size=8, resize=9))", (("data", "imagenet_folder(size=8, resize=9)"),)),
    ],
)
def test_a_comma_in_brackets_parts_nothing(text: str, params: tuple[object, ...]) -> None:
    choice = plugins.parse_choice("models", text)
    assert choice == Choice("mlp", params)  # type: ignore[arg-type]
    assert plugins.parse_choice("models", choice.label) == choice


@pytest.mark.parametrize("value", ["high", 1.5, 0, True, None, [0.5]])
def test_parameters_are_typed_strictly(value: object) -> None:
    with pytest.raises(UserError, match="parameter `sparsity` of method `magnitude_prune`"):
        plugins.resolve("methods", "magnitude_prune", {"sparsity": value})


def test_a_parameter_of_several_kinds_says_them_all_and_parameters_that_contradict_each_other_name_the_method() -> None:
    with pytest.raises(
        UserError, match=r"^parameter `weight_bits` of method `qat`: expected int ≥ 1, ≤ 8 \| 'ternary', not 'foo'$"
    ):
        plugins.resolve("methods", "qat", {"weight_bits": "foo"})
    with pytest.raises(UserError, match=r"^method `obs_prune`: `int8` and `bits` both say how wide weights are: leave one out$"):
        plugins.resolve("methods", "obs_prune", {"sparsity": 0.5, "int8": True, "bits": 4})
    with pytest.raises(UserError, match=r"^method `nm_train`: n = 4 of m = 4 leaves nothing out"):
        plugins.resolve("methods", "nm_train", {"n": 4})
    with pytest.raises(
        UserError, match=r"^parameter `sparsities\.1` of method `obc_mixed`: Input should be less than 1, not 1\.5$"
    ):
        plugins.resolve("methods", "obc_mixed", {"budget": 0.5, "sparsities": [0.5, 1.5]})


def test_a_choice_keeps_and_prints_only_what_differs_from_the_defaults() -> None:
    given = {"sparsity": 0.5, "scope": "global", "fine_tune_epochs": 3}
    assert plugins.resolve("methods", "magnitude_prune", given).label == "magnitude_prune(sparsity=0.5, fine_tune_epochs=3)"


def test_labels_can_be_read_back() -> None:
    choice = plugins.resolve("methods", "magnitude_prune", {"sparsity": 0.75, "fine_tune_epochs": 3})
    assert plugins.parse_choice("methods", choice.label) == choice
    assert plugins.parse_choice("methods", "magnitude_prune:sparsity=0.75,fine_tune_epochs=3") == choice
    for text in ("", "a b", "x:y", "magnitude_prune:sparsity", "magnitude_prune:=1", "magnitude_prune:sparsity=[1"):
        with pytest.raises(UserError):
            plugins.parse_choice("methods", text)


def test_parameters_are_told_as_a_suite_writes_them() -> None:
    sparsity, scope, *_ = plugins.parameters("methods", "magnitude_prune")
    assert (sparsity, scope) == ("sparsity (float > 0, < 1, required)", "scope = 'global' ('global' | 'local')")
    assert "hidden = (128, 64) (list of int ≥ 1)" in plugins.parameters("models", "mlp")


@pytest.mark.parametrize(
    ("pattern", "label", "is_match"),
    [
        ("magnitude_prune", "magnitude_prune", True),
        ("magnitude_prune", "magnitude_prune(sparsity=0.5)", True),
        ("magnitude_prune", "magnitude_prune_more", False),
        ("magnitude*", "magnitude_prune(sparsity=0.5)", True),
        ("magnitude_prune(sparsity=0.5)", "magnitude_prune(sparsity=0.5)", True),
        ("magnitude_prune(sparsity=0.5)", "magnitude_prune(sparsity=0.55)", False),
        ("magnitude_prune(*0.5*)", "magnitude_prune(sparsity=0.5, scope=local)", True),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_matches_a_name_with_or_without_its_parameters(pattern: str, label: str, is_match: bool) -> None:
    assert matches(pattern, label) is is_match
