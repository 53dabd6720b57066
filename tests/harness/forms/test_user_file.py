"""No broken file may take this process down, and each gets a sentence that names it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.forms import user_file
from harness.forms.user_file import inspect


def test_signature_of_an_onnx_file_counts_symbolic_dimensions_as_one(linear_onnx: Path) -> None:
    facts = inspect(linear_onnx)
    assert facts["inputs"] == [{"name": "x", "shape": [1, 64], "dtype": "float32"}]
    assert facts["outputs"] == [{"name": "y", "shape": [1, 32], "dtype": "float32"}]
    assert facts["symbolic_dims"] == {"batch": 1}
    assert facts["ops"] == {"Gemm": 1}
    assert facts["integer"] is False


def test_a_symbolic_dimension_has_the_size_that_is_asked_for_wherever_it_stands(linear_onnx: Path) -> None:
    facts = inspect(linear_onnx, {"batch": 7})
    assert [tensor["shape"] for tensor in (*facts["inputs"], *facts["outputs"])] == [[7, 64], [7, 32]]
    assert facts["symbolic_dims"] == {"batch": 7}
    with pytest.raises(UserError, match=r"no input has a symbolic dimension `bach`\. Did you mean `batch`"):
        inspect(linear_onnx, {"bach": 7})


@pytest.mark.parametrize("unknown", [-1, "?", None])
def test_sizes_that_an_exporter_did_not_know_are_symbols_of_their_own(tmp_path: Path, unknown: int | str | None) -> None:
    from onnx import TensorProto, helper

    shape = [2, unknown, unknown]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())
    assert inspect(path)["inputs"][0]["shape"] == [2, 1, 1]
    assert inspect(path, {"x[1]": 3, "x[2]": 5})["inputs"][0]["shape"] == [2, 3, 5]


@pytest.mark.parametrize("name", ["absent.onnx", "absent.tflite"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"{name}: there is no such file"):
        inspect(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pb", "model", "model.onnx.gz"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"ends in \.onnx or \.tflite"):
        inspect(tmp_path / name)


@pytest.mark.parametrize("suffix", user_file.SUFFIXES)
def test_an_empty_file_and_a_folder_are_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"empty{suffix}").touch()
    with pytest.raises(UserError, match="is empty"):
        inspect(tmp_path / f"empty{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        inspect(tmp_path / f"folder{suffix}")


def test_a_file_without_permission_is_refused(linear_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_settings: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # tests may run as root, who may read every file
    with pytest.raises(UserError, match="may not be read"):
        inspect(linear_onnx)


def test_a_file_beyond_the_limit_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.write(b"x")
        file.truncate(user_file.MAX_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(UserError, match=r"more than the \d+ that such a file can hold"):
        inspect(path)


def test_a_tflite_file_without_its_mark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00PK\x03\x04" + bytes(100))
    with pytest.raises(UserError, match="is not a TFLite file"):
        inspect(path)


def test_garbage_behind_a_right_mark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + random.Random(0).randbytes(4000))
    with pytest.raises(UserError, match="truncated, corrupt"):
        inspect(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_onnx_file_is_refused(linear_onnx: Path, share: float) -> None:
    content = linear_onnx.read_bytes()
    linear_onnx.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(UserError, match=r"linear\.onnx: .*(truncated|corrupt|no outputs)"):
        inspect(linear_onnx)


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bytes_in_an_onnx_header_are_refused_or_harmless(linear_onnx: Path, seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(linear_onnx.read_bytes())
    for _ in range(4):
        content[draw.randrange(60)] ^= draw.randrange(1, 256)
    linear_onnx.write_bytes(content)
    try:
        facts = inspect(linear_onnx)
    except UserError as error:
        assert str(linear_onnx) in str(error)
    else:
        assert facts["ops"]  # the flip hit a name: the file is another one, and whole


def test_a_file_that_is_not_onnx_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("This is not the file you are looking for.")
    with pytest.raises(UserError, match=r"model\.onnx"):
        inspect(path)


def test_an_onnx_file_without_a_graph_is_refused(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.ModelProto(ir_version=10).SerializeToString())
    with pytest.raises(UserError):
        inspect(path)


def _with_external_weights(path: Path, location: str) -> None:
    import onnx

    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)


def test_weights_beside_the_model_are_named(linear_onnx: Path) -> None:
    _with_external_weights(linear_onnx, "weights.bin")
    assert inspect(linear_onnx)["external_data"] == ["weights.bin"]


def test_missing_weights_beside_the_model_are_refused(linear_onnx: Path) -> None:
    _with_external_weights(linear_onnx, "weights.bin")
    (linear_onnx.parent / "weights.bin").unlink()
    with pytest.raises(UserError, match=r"keeps weights in `weights\.bin`, which is not there"):
        inspect(linear_onnx)


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname"])
def test_weights_outside_the_models_folder_are_refused(linear_onnx: Path, location: str) -> None:
    import onnx

    _with_external_weights(linear_onnx, "weights.bin")
    (linear_onnx.parent.parent / "outside.bin").write_bytes((linear_onnx.parent / "weights.bin").read_bytes())
    model = onnx.load(linear_onnx, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    linear_onnx.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"linear\.onnx"):
        inspect(linear_onnx)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
        ("raise SystemExit(5)", "its parser gave up"),
    ],
)
def test_a_parser_that_dies_or_hangs_is_reported(
    linear_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(program)
    monkeypatch.setattr(user_file, "_PROBE", probe)
    monkeypatch.setattr(user_file, "_PARSE_S", 1)
    with pytest.raises(UserError, match=message):
        inspect(linear_onnx)


def test_a_hostile_shape_does_not_take_the_machines_memory(linear_onnx: Path) -> None:
    """The probe's address space is limited: 64 GiB asked for in one go is an error, and not the machine's end."""
    code = (
        "import importlib.util, sys, pathlib; spec = importlib.util.spec_from_file_location('probe', sys.argv[1]);"
        "probe = importlib.util.module_from_spec(spec); spec.loader.exec_module(probe);"
        "probe._onnx = lambda path: {'n': len(bytearray(64 << 30))}; probe.main(pathlib.Path(sys.argv[2]))"
    )
    probe = Path(user_file.__file__).with_name("probe.py")
    ended = subprocess.run(
        [sys.executable, "-c", code, str(probe), str(linear_onnx)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "MemoryError" in ended.stderr
