"""The command line as a script meets it: what it prints, where, and its exit status."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from results.record import Axes, Measurement, PlannedCell, Record, Run, Samples
from results.store import open_store

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
        timeout=1800,  # a hang, not a busy machine
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
    for command in ("plan", "run", "bench", "compress", "report", "compare", "export", "ls", "show", "doctor", "setup"):
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
        (["compare", "a", "b"], "no store"),
        (["compare", "a"], "Missing argument"),
        (["compare", "a", "b", "--least", "-1"], "least"),
        (["plan", "smoke", "--only", "zz"], "--only zz: no cell's id begins so"),
        (["run", "smoke", "--only", ""], "no cell's id begins so"),
        (["bench", "absent.onnx"], "absent.onnx"),
        (["bench", "x.onnx", "--backend", "onnxruntim"], "onnxruntime"),
        (["bench", "x.onnx", "--target", "bord"], "unknown target `bord`"),
        (["bench", "x.onnx", "--dim", "n"], "--dim n: expected NAME=SIZE"),
        (["doctor", "bord"], "unknown target `bord`"),
        (["setup", "tvn"], "Did you mean `tvm`"),
        (["setup", "onnxruntime"], "shares Assay's own environment"),
        (["compress", "mpl", "float32", "-o", "x.onnx"], "Did you mean `mlp`"),
        (["compress", "mlp", "flot32", "-o", "x.onnx"], "Did you mean `float32`"),
        (["compress", "mlp", "float32", "-o", "x.pt"], "*.onnx"),
        (["compress", "mlp", "magnitude_prune", "-p", "sparsity=2", "-o", "x.onnx"], "parameter `sparsity`"),
        (["compress", "mlp", "magnitude_prune", "-o", "x.onnx"], "is required"),
        (["compress", "mlp:weights=absent.pt", "float32", "-o", "x.onnx"], "absent.pt"),
        (["plan", "smoke", "--store", "mysql://x/y"], "mysql"),
        (["plan", "smoke", "--inventory", "absent.yaml"], "absent.yaml"),
        (["targets", "add", "shed", "--ssh", "board"], "which inventory?"),
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


def test_a_report_shows_what_earlier_runs_measured(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.db")) as store:
        for night in range(3):
            axes, started = Axes("cnn", "float32", "ort", "local"), f"2026-01-0{night + 1}T00:00:00Z"
            latency = Measurement("latency", "s", "measured", "by hand", Samples.of([1e-3, 2e-3]))
            hashes = ("cell", f"input{night}", "machine")
            record = Record(
                f"a{night}", f"run{night}", *hashes, axes, "ok", None, None, started, started, measurements=(latency,)
            )
            store.begin_run(Run(f"run{night}", "nightly", {}, 0, started), [PlannedCell("cell", f"input{night}", axes, 0)])
            store.append(record)
    for run, nights in (("run2", 3), ("run1", 2)):
        made = assay("report", "--run", run, "--out", run, "--store", "store.db", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        assert f"in up to {nights} nights" in (tmp_path / run / "index.html").read_text()


@pytest.mark.torch
def test_the_whole_path_by_hand(tmp_path: Path) -> None:
    """plan, run, run again, report, export, ls, show, bench: one small suite through every command."""
    (tmp_path / "suite.yaml").write_text(SUITE.replace("onnxruntime, litert, torch", "onnxruntime, torch"))
    store = ("--store", "store.db")

    planned = json.loads(assay("plan", "suite.yaml", "--json", *store, cwd=tmp_path).stdout)
    assert planned["counts"] == {"run": 3, "excluded": 1} and not (tmp_path / "store.db").exists()

    first = assay("run", "suite.yaml", *store, "--out", "report", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "3 cells: 3 ok"
    for name in ("index.html", "tables/speed.tex", "tables/speed.csv", "tables/speed.md"):
        assert (tmp_path / "report" / name).stat().st_size > 100
    assert list((tmp_path / "report" / "figures").glob("*.svg"))
    assert {c["verdict"] for c in json.loads(assay("plan", "suite.yaml", "--json", *store, cwd=tmp_path).stdout)["cells"]} == {
        "cached",
        "excluded",
    }

    again = assay("run", "suite.yaml", *store, "--out", "report", "--quiet", cwd=tmp_path)
    assert again.returncode == 0 and again.stderr == "" and again.stdout.splitlines()[0] == "3 cells: 3 ok"
    runs = json.loads(assay("ls", "runs", "--json", *store, cwd=tmp_path).stdout)
    assert len(runs) == 2 and all(run["finished"] != "unfinished" for run in runs)

    rows = list(csv.DictReader(io.StringIO(assay("export", "--format", "csv", *store, cwd=tmp_path).stdout)))
    assert {row["metric"] for row in rows} >= {"latency", "top1", "artifact_size", "peak_memory"}
    records = [json.loads(line) for line in assay("export", "--format", "json", *store, cwd=tmp_path).stdout.splitlines()]
    assert len(records) == 3
    assert assay("export", "--format", "parquet", "-o", "samples.parquet", *store, cwd=tmp_path).returncode == 0

    shown = assay("show", records[0]["id"][:8], *store, cwd=tmp_path)
    assert records[0]["cell_key"] in shown.stdout and "unaltered" in shown.stdout
    assert (
        json.loads(assay("show", records[0]["cell_key"], "--json", *store, cwd=tmp_path).stdout)["cell_key"]
        == records[0]["cell_key"]
    )
    refused(assay("show", "zzzz", *store, cwd=tmp_path), "zzzz")

    same = assay("compare", "suite~1", "suite", *store, cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert "nothing worse, nothing better" in same.stdout and "3 cells of both runs are one and the same record" in same.stdout

    page = (tmp_path / "report" / "cells" / f"{records[0]['id']}.html").read_text()
    command = re.search(r"<code>assay (run [^<]* --only [^<]*)</code>", page)
    assert command is not None
    narrowed = assay(*shlex.split(html.unescape(command[1])), *store, cwd=tmp_path)
    assert narrowed.returncode == 0 and narrowed.stdout.splitlines()[0] == "1 cells: 1 ok", narrowed.stderr
    moved = json.loads(assay("compare", "suite~1", "suite", "--json", "--out", "changes", *store, cwd=tmp_path).stdout)
    assert len(moved["only_before"]) == 2 and moved["only_after"] == [] and moved["numbers_compared"] >= 2
    assert (tmp_path / "changes" / "index.html").is_file()

    rendered = assay("report", *store, "--suite", "suite", "--out", "again", cwd=tmp_path)
    assert rendered.returncode == 0 and (tmp_path / "again" / "index.html").is_file()
    refused(assay("report", *store, "--suite", "sweet", "--out", "again", cwd=tmp_path), "no run of suite `sweet`")

    compressed = assay(
        "compress", "mlp:epochs=1", "magnitude_prune", "-p", "sparsity=0.5", "-o", "m.onnx", "--json", cwd=tmp_path
    )
    assert json.loads(compressed.stdout)["claims"]["nonzero_macs"] < json.loads(compressed.stdout)["baseline"]["nonzero_macs"]
    np.savez(tmp_path / "inputs.npz", input=np.zeros((1, 1, 8, 8), np.float32))
    bench = assay("bench", "m.onnx", "--backend", "onnxruntime", "--seconds", "0.02", "--launches", "2", "--json", cwd=tmp_path)
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


def _recorded(path: Path, *runs: Run, slower: float = 1.0, suffix: str = "") -> None:
    """A store whose runs have one cell each, that of the last `slower` times as slow; `suffix` in all that a suite or a device names."""
    with open_store(str(path)) as store:
        for number, run in enumerate(runs):
            factor = slower if run is runs[-1] else 1.0
            samples = dataclasses.replace(
                Samples.of(np.array([1e-3, 1.001e-3, 0.999e-3, 1.0005e-3]) * factor), launch=np.arange(4, dtype=np.uint16)
            )
            axes = Axes(f"net{suffix}", f"method{suffix}", f"backend{suffix}", f"device{suffix}")
            record = Record(
                f"{number:08x}", run.id, "c" * 64, "d" * 64, "m" * 64, axes, "ok", None, None, run.started, run.started,
                measurements=(Measurement("latency", "s", "measured", f"how{suffix}", samples),),
                provenance={f"who{suffix}": suffix},
            )  # fmt: skip
            store.begin_run(run, [PlannedCell(record.cell_key, record.input_hash, axes, 0)])
            store.append(record)
            store.finish_run(run.id, run.started)


def _runs(count: int, suite: str = "nightly") -> list[Run]:
    return [Run(f"{day}a00", suite, {}, 0, f"2026-01-0{day}T00:00:00Z") for day in range(1, count + 1)]


def test_compare_says_what_got_worse_and_exits_1(tmp_path: Path) -> None:
    _recorded(tmp_path / "s.db", *_runs(3), slower=1.05)
    store = ("--store", "s.db")
    worse = assay("compare", "nightly~1", "nightly", *store, cwd=tmp_path)
    assert worse.returncode == 1 and worse.stdout.startswith("nightly 2a00 (2026-01-02 00:00) → nightly 3a00"), worse.stderr
    assert "latency  +5.00% [" in worse.stdout
    for arguments, status in (
        (("nightly", "nightly~1"), 0),
        (("1a", "2a00"), 0),
        (("nightly~2", "3a"), 1),
        (("1a", "nightly", "--least", "6"), 0),
    ):
        assert assay("compare", *arguments, *store, cwd=tmp_path).returncode == status, arguments
    document = json.loads(assay("compare", "nightly~1", "nightly", "--json", *store, cwd=tmp_path).stdout)
    assert document["is_worse"] is True and document["differences"][0]["change"]["value"] == pytest.approx(0.05)
    paged = assay("compare", "nightly~1", "nightly", "--out", "changes", *store, cwd=tmp_path)
    assert paged.returncode == 1 and "page: changes/index.html" in paged.stderr
    assert (tmp_path / "changes" / "cells" / "00000002.html").is_file()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("nightly", "3a00"), "are one run, 3a00: name two"),
        (("nightly~3", "nightly"), "holds 3 runs of suite `nightly`: there is no `nightly~3`"),
        (("nightly~x", "nightly"), "as in `nightly~1`"),
        (("nightli~1", "nightly"), "no run of suite `nightli`. Did you mean `nightly`"),
        (("zz", "nightly"), "no run `zz`"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(names: tuple[str, str], says: str, tmp_path: Path) -> None:
    _recorded(tmp_path / "s.db", *_runs(3))
    refused(assay("compare", *names, "--store", "s.db", cwd=tmp_path), says)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    _recorded(tmp_path / "s.db", *_runs(2))
    (tmp_path / "file").write_text("x")
    refused(assay("compare", "nightly~1", "nightly", "--out", "file/x", "--store", "s.db", cwd=tmp_path), "file")


def test_names_from_suites_and_devices_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    bad = "\x1b]0;owned\x07\x1b[2J\u202e\x9b"
    _recorded(tmp_path / "s.db", *_runs(2, f"nightly{bad}"), suffix=bad)
    store = ("--store", "s.db")
    for arguments in (
        ("ls", "runs"),
        ("show", "00000000"),
        ("compare", "1a", "2a"),
        ("show", "zz"),
        ("report", "--out", "report"),
    ):
        done = assay(*arguments, *store, cwd=tmp_path)
        said = done.stdout + done.stderr
        assert said and all(line.isprintable() for line in said.split("\n")), arguments
    assert "\\x1b[2J" in assay("ls", "runs", *store, cwd=tmp_path).stdout
