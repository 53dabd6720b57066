from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from reports.inputs import changed_inputs, changed_machine
from results.record import Record

MakeRecord = Callable[..., Record]


@pytest.fixture
def provenance() -> dict[str, Any]:
    return {
        "who": {
            "git": {"commit": "ab" * 20, "dirty": False},
            "python": "3.11.7",
            "packages": {"onnxruntime": "1.30.0", "numpy": "2.4"},
            "command": ["assay", "run", "x"],
        },
        "model": {
            "steps": [
                {"kind": "train", "key": "1", "duration_s": 3.0, "inputs": {"model_sha256": "cd" * 32, "model": {"params": {"epochs": 1}}}},
                {"kind": "build", "key": "2", "duration_s": 4.0, "inputs": {"threads": 1}},
            ]
        },
        "data": {"name": "digits", "sha256": "ef" * 32},
        "runtime": {"answer": {"nonce": "x", "versions": {"onnxruntime": "1.30.0"}, "facts": {"delegate": "cpu"}}},
        "sampling": {"launches": 3},
        "seeds": {"suite": 0},
        "artifact": {"sha256": "12" * 32},
        "device": {"facts": {"kernel": "6.1", "isa_flags": ["avx", "fma"], "boot_id": "a", "ram_bytes": 5}},
    }  # fmt: skip


def _told(make_record: MakeRecord, before: Any, after: Any, same_hash: bool = False) -> list[str]:
    old, new = make_record(provenance=before), make_record(provenance=after)
    if not same_hash:
        new = dataclasses.replace(new, input_hash="9" * 64)
    return [str(changed) for changed in changed_inputs(old, new)]


CHANGES: list[tuple[tuple[Any, ...], Any, str]] = [
    (("who", "git", "commit"), "cd" * 20, "commit commit: abababababab → cdcdcdcdcdcd"),
    (("who", "git", "dirty"), True, "commit edited since the commit: false → true"),
    (("who", "packages", "onnxruntime"), "1.31.1", "versions packages.onnxruntime: 1.30.0 → 1.31.1"),
    (("who", "packages", "new"), "1", "versions packages.new: (none) → 1"),
    (("who", "python"), "3.12", "versions python: 3.11.7 → 3.12"),
    (("model", "steps", 0, "inputs", "model_sha256"), "00" * 32, "sources train.model_sha256: cdcdcdcdcdcd → 000000000000"),
    (("model", "steps", 0, "inputs", "model", "params", "epochs"), 2, "sources train.model.params.epochs: 1 → 2"),
    (("data", "sha256"), "77" * 32, "data sha256: efefefefefef → 777777777777"),
    (("runtime", "answer", "facts", "delegate"), "gpu", "runtime delegate: cpu → gpu"),
    (("sampling", "launches"), 5, "sampling launches: 3 → 5"),
    (("seeds", "suite"), 1, "seeds suite: 0 → 1"),
    (("artifact", "sha256"), "34" * 32, "artifact sha256: 121212121212 → 343434343434"),
]


@pytest.mark.parametrize(("path", "value", "says"), CHANGES, ids=[c[2].partition(":")[0] for c in CHANGES])
def test_each_input_is_named_with_what_it_was(
    path: tuple[Any, ...], value: Any, says: str, provenance: dict[str, Any], make_record: MakeRecord
) -> None:
    after = copy.deepcopy(provenance)
    place: Any = after
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert _told(make_record, provenance, after) == [says]


def test_durations_nonces_and_keys_are_no_inputs(provenance: dict[str, Any], make_record: MakeRecord) -> None:
    after = copy.deepcopy(provenance)
    after["model"]["steps"][0]["duration_s"], after["model"]["steps"][0]["key"] = 99.0, "other"
    after["runtime"]["answer"]["nonce"], after["who"]["command"] = "y", ["assay", "run", "y"]
    assert _told(make_record, provenance, after, same_hash=True) == []


def test_one_version_stated_twice_is_told_once(provenance: dict[str, Any], make_record: MakeRecord) -> None:
    after = copy.deepcopy(provenance)
    after["who"]["packages"]["onnxruntime"] = after["runtime"]["answer"]["versions"]["onnxruntime"] = "1.31.1"
    assert _told(make_record, provenance, after) == ["versions packages.onnxruntime: 1.30.0 → 1.31.1"]


def test_an_input_hash_that_differs_by_nothing_recorded_is_told(provenance: dict[str, Any], make_record: MakeRecord) -> None:
    (told,) = _told(make_record, provenance, provenance)
    assert told.startswith("unrecorded the input hash differs")


def test_a_machine_differs_by_what_makes_its_key_and_lists_by_their_members(
    provenance: dict[str, Any], make_record: MakeRecord
) -> None:
    after = copy.deepcopy(provenance)
    after["device"]["facts"] = {"kernel": "6.2", "isa_flags": ["avx", "sse", "avx512f"], "boot_id": "b", "ram_bytes": 6}
    told = [str(changed) for changed in changed_machine(make_record(provenance=provenance), make_record(provenance=after))]
    assert told == ["machine kernel: 6.1 → 6.2", "machine isa_flags: fma → sse, avx512f"]


@pytest.mark.parametrize("broken", ["text", 7, None, [], {"steps": "no list"}, {"answer": [1]}, {"steps": [None, {"kind": 3}]}])
def test_provenance_of_any_shape_compares(broken: Any, provenance: dict[str, Any], make_record: MakeRecord) -> None:
    for old, new in ((dict.fromkeys(provenance, broken), provenance), (provenance, dict.fromkeys(provenance, broken))):
        assert _told(make_record, old, new)


def test_long_and_hostile_values_are_cut_and_made_visible(make_record: MakeRecord) -> None:
    (told,) = _told(make_record, {"seeds": {"a\x1b": 1}}, {"seeds": {"a\x1b": "\u202e" + "x" * 500}})
    assert told.startswith(r"seeds a\x1b: 1 → \u202exxx") and len(told) < 100 and told.endswith("…")
