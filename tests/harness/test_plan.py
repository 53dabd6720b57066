"""The plan: every cell once, with its identity and its verdict; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.plan import Cell, Done, Point, plan, restricted
from harness.suite import Condition, Suite
from harness.suite_file import load_suite
from results.record import Status, cell_key
from targets.target import Target

TARGETS = {"local": Target("local")}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "s.yaml"
    path.write_text(
        "models: [mlp, small_cnn]\nmethods: [float32, int8_ptq, {magnitude_prune: {sparsity: [0.5, 0.9]}}]\n"
        "backends: [onnxruntime, litert, torch]\noperating_points: {threads: [1, 2]}\n"
        "exclude:\n  - {method: magnitude_prune, backend: torch}\n  - {threads: 2, model: mlp}\n"
    )
    return load_suite(str(path), known_targets={"local": Target("local")})


def identity(point: Point) -> str:
    return repr(point)


def none_done(_hashes: Sequence[str]) -> Mapping[str, Done]:
    return {}


def test_the_matrix_is_complete_and_in_order(suite: Suite) -> None:
    cells = plan(suite, TARGETS, identity, none_done)
    assert len(cells) == 2 * 4 * 3 * 2
    assert len({cell.key for cell in cells}) == len(cells)
    kept = [cell for cell in cells if cell.verdict != "excluded"]
    assert len({cell.input_hash for cell in kept}) == len(kept) and all(cell.input_hash for cell in kept)
    assert [cell.axes.model for cell in cells] == sorted((c.axes.model for c in cells), key=["mlp", "small_cnn"].index)


def test_verdicts_say_why(suite: Suite) -> None:
    for cell in plan(suite, TARGETS, identity, none_done):
        axes = cell.axes
        if axes.threads == 2 and axes.model == "mlp":
            assert cell.verdict == "excluded"
        elif axes.backend == "torch" and axes.method.startswith("magnitude_prune"):
            assert (cell.verdict, cell.reason) == ("excluded", f"by `exclude` at {suite.path}:6")
        elif axes.backend == "torch" and axes.method == "int8_ptq":
            assert cell.verdict == "unsupported" and cell.reason
        else:
            assert (cell.verdict, cell.reason) == ("run", None)


def test_all_that_is_missing_is_told_at_once_with_how_to_go_on(suite: Suite) -> None:
    def nothing_here(point: Point) -> str:
        raise UserError(f"no data for {point[0].label}")

    with pytest.raises(UserError) as caught:
        plan(suite, TARGETS, nothing_here, none_done)
    assert str(caught.value).splitlines() == [
        f"{suite.path}: what some models need is not here",
        "  mlp: no data for mlp",
        "  small_cnn: no data for small_cnn",
        "To go on without them, run a suite that says `extends: s` and `exclude: [{model: [mlp, small_cnn]}]`",
    ]


def test_what_only_excluded_cells_need_may_be_missing(suite: Suite) -> None:
    def only_cnn(point: Point) -> str:
        if point[0].label == "mlp":
            raise UserError("no data")
        return repr(point)

    without = replace(suite, exclude=(Condition((("model", ("mlp",)),), "here"),))
    cells = plan(without, TARGETS, only_cnn, none_done)
    assert all(cell.input_hash == "" for cell in cells if cell.axes.model == "mlp")


def test_include_keeps_only_what_matches(suite: Suite) -> None:
    kept = replace(suite, include=suite.exclude[:1], exclude=())
    cells = [cell for cell in plan(kept, TARGETS, identity, none_done) if cell.verdict != "excluded"]
    assert cells and all(c.axes.backend == "torch" and c.axes.method.startswith("magnitude") for c in cells)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [("ok", "cached"), ("wrong", "cached"), ("failed", "cached"), ("unreachable", "run"), ("invalid", "run")],
)
def test_a_cell_that_the_store_answers_is_not_repeated_unless_the_answer_was_no_fault_of_its_own(
    suite: Suite, status: Status, verdict: str
) -> None:
    first = next(cell for cell in plan(suite, TARGETS, identity, none_done) if cell.verdict == "run")

    def done(hashes: Sequence[str]) -> Mapping[str, Done]:
        assert first.input_hash in hashes
        return {first.input_hash: Done("record", status)}

    again = next(cell for cell in plan(suite, TARGETS, identity, done) if cell.key == first.key)
    assert again.verdict == verdict
    assert again.record_id == ("record" if verdict == "cached" else None)


def test_the_key_is_the_axes_alone_and_the_input_hash_all_that_decides_the_numbers(suite: Suite) -> None:
    def keyed(cells: Sequence[Cell]) -> dict[str, str]:
        return {cell.key: cell.input_hash for cell in cells if cell.verdict != "excluded"}

    def salted(salt: str) -> dict[str, str]:
        return keyed(plan(suite, TARGETS, lambda point: repr(point) + salt, none_done))

    one, other = salted("a"), salted("b")
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_only_keeps_the_named_cells_and_leaves_out_the_rest(suite: Suite) -> None:
    cells = plan(suite, TARGETS, identity, none_done)
    runnable = [cell for cell in cells if cell.verdict == "run"]
    one, other = runnable[0], runnable[-1]
    kept = [cell for cell in restricted(cells, (one.key[:12], other.key)) if cell.verdict != "excluded"]
    assert kept == [one, other]
    left_out = next(cell for cell in restricted(cells, (one.key,)) if cell.key == other.key)
    assert left_out.reason == "left out by --only"
    assert restricted(cells, ()) == cells


def test_only_refuses_what_names_no_cell_many_or_one_that_is_left_out(suite: Suite) -> None:
    cells = plan(suite, TARGETS, identity, none_done)
    excluded = next(cell for cell in cells if cell.verdict == "excluded")
    shared = next(c for c in "0123456789abcdef" if sum(cell.key.startswith(c) for cell in cells) > 1)
    for start, says in (
        ("zz", "no cell's id"),
        ("", "no cell's id"),
        (shared, "give more of it"),
        (excluded.key, "leaves this cell out"),
    ):
        with pytest.raises(UserError, match=says):
            restricted(cells, (start,))


def test_an_operating_point_is_part_of_a_cell_and_may_not_suit_every_device(tmp_path: Path) -> None:
    devices = {"pi": Target("pi", frequencies_hz=(600_000_000,)), "desk": Target("desk", frequencies_hz=(3_000_000_000,))}
    path = tmp_path / "s.yaml"
    path.write_text(
        "models: [mlp]\nmethods: [float32]\nbackends: [onnxruntime]\ntargets: [pi, desk]\nbaseline: {frequency_hz: null}\n"
        "operating_points:\n  - {frequency_hz: [null, 600000000], cpus: [0, 1]}\n  - {governor: performance}\n"
        'exclude:\n  - {target: desk, governor: performance}\n  - {target: desk, frequency_hz: "", cpus: 0-1}\n'
    )
    suite = load_suite(str(path), known_targets=devices)
    cells = plan(suite, devices, identity, none_done)
    assert [(c.axes.target, c.axes.cpus, c.axes.governor, c.axes.frequency_hz, c.verdict) for c in cells] == [
        ("pi", "0-1", None, None, "run"), ("pi", "0-1", None, 600_000_000, "run"), ("pi", None, "performance", None, "run"),
        ("desk", "0-1", None, None, "excluded"), ("desk", "0-1", None, 600_000_000, "unsupported"), ("desk", None, "performance", None, "excluded"),
    ]  # fmt: skip
    assert "desk cannot be held at 600000000 Hz" in str(cells[4].reason)
    assert len({cell.key for cell in cells}) == 6 and cells[0].key == cell_key(cells[0].axes)
    assert suite.to_json()["operating_points"][1] == {
        "threads": 1, "batch": 1, "cpus": "0-1", "governor": None, "frequency_hz": 600_000_000,
    }  # fmt: skip
