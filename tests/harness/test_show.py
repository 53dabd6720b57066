"""Listings and plans as text: aligned, complete, and one row a thing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from harness import plugins, show
from harness.compress import CompressedFile
from harness.doctor import Finding
from harness.plan import plan
from harness.suite_file import load_suite
from results.record import Axes, Measurement, Record
from targets.target import Target

TARGETS = {"local": Target("local")}


def test_columns_are_aligned_under_their_names() -> None:
    assert show.columns([{"a": 1, "b": "x"}, {"a": 100, "b": ""}]) == "A    B\n1    x\n100"
    assert show.columns([]) == "(none)"


def test_every_plugin_is_listed_with_its_parameters() -> None:
    for family in plugins.FAMILIES:
        assert [row["name"] for row in show.rows(family)] == list(plugins.names(family))
    methods = {row["name"]: row for row in show.rows("methods")}
    assert "sparsity" in methods["magnitude_prune"]["parameters"] and methods["float32"]["about"]
    backends = {row["name"]: row for row in show.rows("backends")}
    assert all(backends[name]["usable"].startswith("yes: ") for name in ("litert", "onnxruntime", "torch"))
    assert all(row["usable"].startswith(("yes: ", "no: pip install ", "no: assay setup ")) for row in backends.values())
    assert (backends["tvm"]["numeric"], backends["tvm"]["reads"]) == ("float32", ".onnx")
    assert (backends["litert"]["numeric"], backends["torch"]["reads"]) == ("float32 int8", "-")
    assert {row["name"] for row in show.rows("suites")} >= {"smoke"}
    assert {row["name"] for row in show.rows("meters")} >= {"rapl", "hwmon"} and all(row["about"] for row in show.rows("meters"))
    assert show.target_rows(TARGETS)[0]["name"] == "local"


def test_a_plan_says_every_cell_and_why_not() -> None:
    suite = load_suite("smoke", known_targets={"local": Target("local")})
    cells = plan(suite, TARGETS, repr, lambda _hashes: {})
    text = show.plan_text(suite, cells)
    assert len(text.splitlines()) == len(cells) + 3 and "PT2E" in text and "excluded" in text
    document = json.loads(json.dumps(show.plan_json(suite, cells)))
    assert sum(document["counts"].values()) == len(document["cells"]) == len(cells)
    assert document["estimated_s"] > 0 and all(cell["id"] for cell in document["cells"])


def test_a_record_shows_everything_and_whether_it_was_altered() -> None:
    measurement = Measurement("energy", "J", "measured", "none", None, "no sensor on this device")
    record = Record(
        "0123", "run", "key", "hash", "machine", Axes("m", "x", "b", "t"), "failed", "no luck", "BuildError", "t0", "t1",
        claims={"macs": 5}, measurements=(measurement,), provenance={"who": {"assay": "1"}},
    )  # fmt: skip
    text = show.record_text(record, [record, record], intact=True)
    for part in ("0123", "unaltered", "no luck", "no sensor on this device", '"macs": 5', '"assay": "1"', "history"):
        assert part in text
    assert "ALTERED" in show.record_text(record, [record], intact=False)


def test_claims_stand_beside_the_dense_network_s() -> None:
    result = CompressedFile(
        Path("m.onnx"), "mlp", "x", {"macs": 50, "params": 0}, {"macs": 100, "params": 7}, {"stem": "too small"}
    )
    text = show.claims_text(result)
    assert "2.00x" in text and "stem: too small" in text
    assert "stored as" not in text
    stored = dataclasses.replace(result, claims={**result.claims, "formats": {"bitmap": 3}})
    assert show.claims_text(stored).count("\n") == text.count("\n") + 2 and "bitmap (3 layers)" in show.claims_text(stored)


def test_findings_say_how_to_mend() -> None:
    text = show.findings_text("local", [Finding("noise", "turbo is on", "echo 1"), Finding("good", "fine")])
    assert "noisy   turbo is on" in text and "mend: echo 1" in text
