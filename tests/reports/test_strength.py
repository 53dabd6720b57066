from __future__ import annotations

import pytest

from reports.strength import Strength, short_names, strengths


def test_what_is_swept_is_the_number_with_most_values() -> None:
    labels = ["float32", *(f"prune(sparsity={s}, epochs={e})" for e in (0, 4) for s in (0.5, 0.75, 0.9))]
    found = strengths(labels, {})
    assert found["float32"] == Strength("float32")
    assert found["prune(sparsity=0.75, epochs=4)"] == Strength("prune(epochs=4)", "sparsity", 0.75)
    assert {s.family for s in found.values()} == {"float32", "prune(epochs=0)", "prune(epochs=4)"}


@pytest.mark.parametrize(
    ("label", "family"),
    [("p(a=1)", "p"), ("p(a=1, b=x)", "p(b=x)"), ("p(b=x, a=1)", "p(b=x)"), ("p(aa=3, a=1)", "p(aa=3)"), ("p(a=1e-05)", "p")],
)
def test_the_family_is_the_label_without_the_swept_parameter(label: str, family: str) -> None:
    assert strengths([label, "p(a=7)", "p(a=8)"], {})[label].family == family


def test_a_default_that_a_label_leaves_out_is_a_strength_all_the_same() -> None:
    found = strengths(["prune", "prune(sparsity=0.9)"], {"prune": {"sparsity": 0.5}})
    assert found["prune"] == Strength("prune", "sparsity", 0.5)
    assert [s.label for s in found.values()] == ["0.5", "0.9"]


def test_one_value_or_words_are_no_sweep() -> None:
    for labels in (["p(a=1)", "q(a=2)"], ["p(mode=fast)", "p(mode=slow)"], ["p(on=true)", "p(on=false)"]):
        assert [strengths(labels, {})[label] for label in labels] == [Strength(label) for label in labels]


def test_a_short_name_is_the_plugins_where_that_is_clear() -> None:
    found = strengths(["p(a=1, b=1)", "p(a=2, b=1)", "q(a=1, b=1)", "q(a=2, b=2)", "q(a=3, b=2)"], {})
    assert short_names(found) == {"p(b=1)": "p", "q(b=1)": "q(b=1)", "q(b=2)": "q(b=2)"}
