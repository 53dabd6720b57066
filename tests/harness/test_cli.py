"""The command line as a script meets it: what it prints, where, and its exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SUITE = """\
models: [{mlp: {epochs: 1}}]
methods: [float32, {magnitude_prune: {sparsity: 0.5}}]
backends: [onnxruntime, litert, torch]
exclude: [{method: magnitude_prune, backend: torch}]
sampling: {launches: 2, min_samples: 5, min_s: 0.02, min_sample_s: 0.001, evaluation_size: 50}
tables: [{name: speed, metrics: [latency, speedup]}]
"""


def assay(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments],
        cwd=cwd,
        env=os.environ | {"XDG_DATA_HOME": str(cwd / "data")} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    """A user's error: one message that says what is wrong, exit status 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_shows_examples_and_every_command_has_help(tmp_path: Path) -> None:
    top = assay("--help", cwd=tmp_path)
    assert top.returncode == 0 and "assay run smoke" in top.stdout
    for command in ("plan", "run", "bench", "compress", "report", "export", "ls", "show", "doctor"):
        done = assay(command, "--help", cwd=tmp_path)
        assert done.returncode == 0 and command in done.stdout


def test_completion_is_offered(tmp_path: Path) -> None:
    done = assay("--show-completion", cwd=tmp_path, SHELL="/bin/bash")
    assert "--show-completion" in assay("--help", cwd=tmp_path).stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "Did you mean 'run'"),
        (["run"], "Missing argument"),
        (["run", "smoke", "--oot", "x"], "--out"),
        (["plan", "smok"], "Did you mean `smoke`"),
        (["ls", "methds"], "methods"),
        (["show", "deadbeef"], "no store"),
        (["report", "--out", "x"], "no store"),
        (["export", "--format", "csv"], "no store"),
        (["bench", "absent.onnx"], "absent.onnx"),
        (["bench", "x.onnx", "--backend", "onnxruntim"], "onnxruntime"),
        (["bench", "x.onnx", "--target", "bord"], "unknown target `bord`"),
        (["doctor", "bord"], "unknown target `bord`"),
        (["compress", "mpl", "float32", "-o", "x.onnx"], "Did you mean `mlp`"),
        (["compress", "mlp", "flot32", "-o", "x.onnx"], "Did you mean `float32`"),
        (["compress", "mlp", "float32", "-o", "x.pt"], "*.onnx"),
        (["compress", "mlp", "magnitude_prune", "-p", "sparsity=2", "-o", "x.onnx"], "parameter `sparsity`"),
        (["compress", "mlp", "magnitude_prune", "-o", "x.onnx"], "is required"),
        (["compress", "mlp:weights=absent.pt", "float32", "-o", "x.onnx"], "absent.pt"),
        (["plan", "smoke", "--store", "mysql://x/y"], "mysql"),
        (["plan", "smoke", "--inventory", "absent.yaml"], "absent.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_are_refused(arguments: list[str], says: str, tmp_path: Path) -> None:
    refused(assay(*arguments, cwd=tmp_path), says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("models:", "modles:", "suite.yaml:1: unknown key `modles`. Did you mean `models`"),
        ("mlp:", "mpl:", "unknown model `mpl`. Did you mean `mlp`"),
        ("float32,", "flaot32,", "Did you mean `float32`"),
        ("sparsity:", "sparcity:", "suite.yaml:2: unknown parameter `sparcity`"),
        ("litert,", "litter,", "suite.yaml:3: unknown backend `litter`. Did you mean `litert`"),
        ("sampling:", "targets: [lokal]\nsampling:", "unknown target `lokal`. Did you mean `local`"),
        ("launches: 2", "launches: two", "suite.yaml:5: launches"),
        ("exclude: [", "exclude: [{model: mlp}, ", "leave no cell"),
        ("[float32,", "[float32, float32,", "named twice"),
        ("[float32,", "[&a float32,", "anchors"),
        ("[float32,", "[!!python/name:os.system float32,", "tag"),
        ("epochs: 1", "data: no_such_data", "unknown data set `no_such_data`"),
        ("epochs: 1", "weights: weights.pt", "weights.pt"),
    ],
)
def test_a_bad_suite_is_refused_before_anything_is_made(old: str, new: str, says: str, tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.replace(old, new, 1))
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02 this is no checkpoint")
    refused(assay("run", "suite.yaml", "--store", "store.db", "--out", "report", cwd=tmp_path), says)
    assert not (tmp_path / "store.db").exists() and not (tmp_path / "report").exists()
    assert not (own_cache / "steps").exists()


def test_a_model_that_does_not_fit_its_data_is_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "models" / "narrow.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass(frozen=True)\nclass Narrow:\n"
        "    data: str = 'digits'\n    weights: str = ''\n"
        "    def accepts(self, spec): return f'wants 3 channels, not {spec.input_shape[0]}'\n"
        "    def build(self, spec): raise AssertionError\n    def recipe(self): raise AssertionError\nMODEL = Narrow\n"
    )
    (tmp_path / "suite.yaml").write_text(SUITE.replace("{mlp: {epochs: 1}}", "narrow"))
    refused(assay("plan", "suite.yaml", cwd=tmp_path, ASSAY_PLUGINS=str(tmp_path / "plugins")), "wants 3 channels, not 1")


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"PK\x03\x04 not a model", os.urandom(5000)], ids=["empty", "zeros", "zip", "random"]
)
def test_a_corrupt_model_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    refused(assay("bench", name, cwd=tmp_path), name)


def test_a_store_that_cannot_be_used_is_refused(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)

    def run(store: str) -> subprocess.CompletedProcess[str]:
        return assay("run", "suite.yaml", "--store", store, "--out", "report", cwd=tmp_path)

    (tmp_path / "text.db").write_text("this is a text file, long enough to be looked at as a database header " * 20)
    refused(run("text.db"), "text.db")
    refused(run(str(tmp_path)), "is a folder")
    refused(run("/proc/none/store.db"), "/proc/none")
    assay("plan", "suite.yaml", "--store", "newer.db", cwd=tmp_path)
    from results.store import open_store

    with open_store(str(tmp_path / "newer.db")):
        pass
    with sqlite3.connect(tmp_path / "newer.db") as database:
        database.execute("update assay_revision set version_num = '9999'")
    database.close()
    refused(run("newer.db"), "newer Assay")
    assert not (own_cache / "steps").exists()


@pytest.mark.peers
def test_a_full_disk_is_refused_beforehand(tmp_path: Path, own_cache: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(full)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this container does not allow mounts")
    try:
        (tmp_path / "suite.yaml").write_text(SUITE)
        (full / "filler").write_bytes(b"\0" * (250 << 10))
        for option, value in (("--out", str(full / "report")), ("--store", str(full / "store.db"))):
            given = {"--store": "store.db", "--out": "report"} | {option: value}
            done = assay("run", "suite.yaml", *(text for pair in given.items() for text in pair), cwd=tmp_path)
            refused(done, str(full))
        refused(assay("run", "suite.yaml", "--store", "s.db", cwd=tmp_path, ASSAY_CACHE=str(full / "cache")), "MB free")
    finally:
        subprocess.run(["umount", str(full)], check=True)


@pytest.mark.torch
def test_the_whole_path_by_hand(tmp_path: Path) -> None:
    """plan, run, run again, report, export, ls, show, bench: one small suite through every command."""
    (tmp_path / "suite.yaml").write_text(SUITE)
    store = ("--store", "store.db")

    planned = json.loads(assay("plan", "suite.yaml", "--json", *store, cwd=tmp_path).stdout)
    assert planned["counts"] == {"run": 5, "excluded": 1} and not (tmp_path / "store.db").exists()

    first = assay("run", "suite.yaml", *store, "--out", "report", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "5 cells: 5 ok"
    for name in ("index.html", "tables/speed.tex", "tables/speed.csv", "tables/speed.md"):
        assert (tmp_path / "report" / name).stat().st_size > 100
    assert list((tmp_path / "report" / "figures").glob("*.svg"))
    assert {c["verdict"] for c in json.loads(assay("plan", "suite.yaml", "--json", *store, cwd=tmp_path).stdout)["cells"]} == {
        "cached",
        "excluded",
    }

    again = assay("run", "suite.yaml", *store, "--out", "report", "--quiet", cwd=tmp_path)
    assert again.returncode == 0 and again.stderr == "" and again.stdout.splitlines()[0] == "5 cells: 5 ok"
    runs = json.loads(assay("ls", "runs", "--json", *store, cwd=tmp_path).stdout)
    assert len(runs) == 2 and all(run["finished"] != "unfinished" for run in runs)

    rows = list(csv.DictReader(io.StringIO(assay("export", "--format", "csv", *store, cwd=tmp_path).stdout)))
    assert {row["metric"] for row in rows} >= {"latency", "top1", "artifact_size", "peak_memory"}
    records = [json.loads(line) for line in assay("export", "--format", "json", *store, cwd=tmp_path).stdout.splitlines()]
    assert len(records) == 5
    assert assay("export", "--format", "parquet", "-o", "samples.parquet", *store, cwd=tmp_path).returncode == 0

    shown = assay("show", records[0]["id"][:8], *store, cwd=tmp_path)
    assert records[0]["cell_key"] in shown.stdout and "unaltered" in shown.stdout
    assert (
        json.loads(assay("show", records[0]["cell_key"], "--json", *store, cwd=tmp_path).stdout)["cell_key"]
        == records[0]["cell_key"]
    )
    refused(assay("show", "zzzz", *store, cwd=tmp_path), "zzzz")

    rendered = assay("report", *store, "--suite", "suite", "--out", "again", cwd=tmp_path)
    assert rendered.returncode == 0 and (tmp_path / "again" / "index.html").is_file()
    refused(assay("report", *store, "--suite", "sweet", "--out", "again", cwd=tmp_path), "no run of suite `sweet`")

    compressed = assay(
        "compress", "mlp:epochs=1", "magnitude_prune", "-p", "sparsity=0.5", "-o", "m.onnx", "--json", cwd=tmp_path
    )
    assert json.loads(compressed.stdout)["claims"]["nonzero_macs"] < json.loads(compressed.stdout)["baseline"]["nonzero_macs"]
    np.savez(tmp_path / "inputs.npz", input=np.zeros((1, 1, 8, 8), np.float32))
    bench = assay("bench", "m.onnx", "--seconds", "0.02", "--launches", "2", "--json", cwd=tmp_path)
    assert bench.returncode == 0, bench.stderr
    results = json.loads(bench.stdout)
    assert results["schema"] == 1 and {r["backend"]: r["status"] for r in results["results"]}["onnxruntime"] == "ok"
    (tmp_path / "bad.npz").write_bytes((tmp_path / "inputs.npz").read_bytes()[:50])
    refused(assay("bench", "m.onnx", "--inputs", "bad.npz", cwd=tmp_path), "bad.npz")


@pytest.mark.torch
def test_bad_endings_are_records_and_exit_1(tmp_path: Path) -> None:
    """A backend that answers wrongly, one that fails to build, one that crashes on the device: each leaves its record and its reason."""
    body = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar, Literal\n"
        "@dataclass(frozen=True)\nclass Bad:\n    does: Literal['wrong', 'build', 'crash', 'raise'] = 'wrong'\n"
        "    requires: ClassVar[tuple[str, ...]] = ('numpy',)\n    reads: ClassVar[tuple[str, ...]] = ()\n"
        "    def supports(self, workload, numeric, target): return None\n    def form(self, numeric, target): return 'onnx'\n"
        "    def build(self, exported, target, folder):\n"
        "        from harness.artifact import Artifact\n        from harness.errors import BuildError\n"
        "        if self.does == 'build': raise BuildError('no such instruction')\n"
        "        (folder / 'x').write_text('x')\n        return Artifact.of(folder, ('x',), {})\n"
        "class Network:\n    def __init__(self, does): self.does = does\n    def set_inputs(self, arrays): self.n = len(arrays[0])\n"
        "    def invoke(self):\n"
        "        if self.does == 'crash':\n            import os, signal\n            os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        if self.does == 'raise': raise ValueError('no luck on the device')\n"
        "    def outputs(self):\n        import numpy\n        return [numpy.zeros((self.n, 10), numpy.float32)]\n"
        "    def output_quantization(self): return [None]\n    def facts(self): return {}\n"
        "def load(folder, file, options): return Network(options['does'])\nBACKEND = Bad\n"
    )
    (tmp_path / "plugins" / "backends").mkdir(parents=True)
    (tmp_path / "plugins" / "backends" / "bad.py").write_text(body)
    (tmp_path / "suite.yaml").write_text(
        SUITE.replace("[onnxruntime, litert, torch]", "[onnxruntime, {bad: {does: [wrong, build, crash, raise]}}]").replace(
            "exclude: [{method: magnitude_prune, backend: torch}]", "exclude: [{method: magnitude_prune}]"
        )
    )
    done = assay("run", "suite.yaml", "--store", "s.db", "--out", "report", cwd=tmp_path, ASSAY_PLUGINS=str(tmp_path / "plugins"))
    assert done.returncode == 1, done.stderr
    records = {
        r["axes"]["backend"]: r
        for r in map(json.loads, assay("export", "--format", "json", "--store", "s.db", cwd=tmp_path).stdout.splitlines())
    }
    assert records["onnxruntime"]["status"] == "ok"
    for backend, status, says in (
        ("bad", "wrong", "largest error"),
        ("bad(does=build)", "failed", "no such instruction"),
        ("bad(does=crash)", "failed", "SIGSEGV"),
        ("bad(does=raise)", "failed", "no luck on the device"),
    ):
        assert records[backend]["status"] == status and says in records[backend]["reason"]
        assert not any(m["metric"] == "latency" for m in records[backend]["measurements"])
    page = (tmp_path / "report" / "index.html").read_text()
    assert "no luck on the device" in page
