"""The inventory: what is written is what is loaded, and whatever is wrong is told with its line."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

from targets.inventory import MAX_BYTES, InventoryError, load_inventory
from targets.target import Target

EXAMPLE = Path(__file__).resolve().parents[2] / "targets" / "inventory.example.yaml"


def load(tmp_path: Path, text: str) -> dict[str, Target]:
    path = tmp_path / "inventory.yaml"
    path.write_text(text, encoding="utf-8")
    return load_inventory(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(InventoryError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "inventory.yaml"))
    return message.removeprefix(str(tmp_path / "inventory.yaml"))


def test_local_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_INVENTORY", raising=False)
    assert load_inventory() == {"local": Target("local")}


@pytest.mark.parametrize("text", ["", "# nothing\n", "targets:\n", "{}", "targets: {}"])
def test_an_empty_inventory_holds_local(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == {"local": Target("local")}


def test_every_field_is_read(tmp_path: Path) -> None:
    full = Target(
        "board-1", "local", "gpu", "aarch64", "cortex_a72", "desk", "pi@board", "/var/tmp/x", "/usr/bin/python3", ("ina226",), ("arm", "hot"),
        "emulated",
    )  # fmt: skip
    assert all(getattr(full, f.name) != f.default for f in dataclasses.fields(Target) if f.name != "transport")
    lines = [
        f"    {key}: {list(value) if isinstance(value, tuple) else value}"
        for key, value in dataclasses.asdict(full).items()
        if key != "name"
    ]
    assert load(tmp_path, "\n".join(["targets:", "  board-1:", *lines])) == {"local": Target("local"), "board-1": full}


def test_local_may_be_said_more_of(tmp_path: Path) -> None:
    assert load(tmp_path, "targets:\n  local:\n    tags: [desk]\n") == {"local": Target("local", tags=("desk",))}


def test_the_environment_names_the_file_and_an_argument_overrides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named.yaml").write_text("targets: {named: {}}")
    (tmp_path / "given.yaml").write_text("targets: {given: {}}")
    monkeypatch.setenv("ASSAY_INVENTORY", str(tmp_path / "named.yaml"))
    assert list(load_inventory()) == ["local", "named"]
    assert list(load_inventory(tmp_path / "given.yaml")) == ["local", "given"]


def test_the_example_loads() -> None:
    targets = load_inventory(EXAMPLE)
    assert set(targets) == {"local", "local-system-python"}
    assert {target.host for target in targets.values()} == {"localhost"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets:\n  a:\n    transprt: local\n", ":3: unknown key `transprt` of target `a`. Did you mean `transport`?"),
        ("targets:\n  a:\n    name: b\n", ":3: unknown key `name` of target `a`."),
        ("\ntarget:\n  a: {}\n", ":2: unknown key `target`. Did you mean `targets`?"),
        ("targets:\n  a:\n    transport: locl\n", ":3: unknown transport `locl`. Did you mean `local`?"),
        ("targets:\n  a:\n\n    kind: toaster\n", ":4: `kind` of target `a`: Input should be 'cpu', 'gpu', 'fpga' or 'mcu', not 'toaster'"),
        ("targets:\n  a:\n    cpu: 7\n", ":3: `cpu` of target `a`: Input should be a valid string, not 7"),
        ("targets:\n  a:\n    cpu:\n", ":3: `cpu` of target `a`: Input should be a valid string, not None"),
        ("targets:\n  a:\n    tags: [x, 3]\n", ":3: `tags` of target `a`: Input should be a valid string, not 3"),
        ("targets:\n  a:\n    tags: x\n", ":3: `tags` of target `a`: Input should be a valid array, not 'x'"),
        ("targets:\n  a:\n    cpu: {b: c}\n", ":3: expected a value or a list of values"),
        ("targets:\n  a:\n    cpu: 2024-01-01\n", ":3: `2024-01-01` reads as timestamp; put it in quotes"),
        ("targets:\n  a/b: {}\n", ":2: target name 'a/b'"),
        ("targets:\n  ..: {}\n", ":2: target name '..'"),
        ("targets:\n  7: {}\n", ":2: a key of `targets` must be text"),
        ("targets:\n  a: {}\n  a: {}\n", ":3: key `a` of `targets` appears twice"),
        ("targets:\n  a:\n    cpu: x\n    cpu: y\n", ":4: key `cpu` of target `a` appears twice"),
        ("targets: [a, b]\n", ":1: `targets` must be a mapping"),
        ("- a\n", ":1: the inventory must be a mapping"),
        ("targets:\n  a: text\n", ":2: target `a` must be a mapping"),
        ("targets:\n  a: {\n", ":3: not valid YAML"),
        ("targets:\n\tb: {}\n", ":2: not valid YAML"),
        ("targets:\n  a: &x {}\n  b: *x\n", ":2: anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]\n", ":1: unknown key `a`"),
        ("targets:\n  a:\n    cpu: !!python/name:os.system x\n", ":3: `x` reads as "),
        ("--- {}\n--- {}\n", ":2: not valid YAML: but found another document"),
        ("targets: \x00\n", ": not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_bytes(b"targets: \xff\xfe")
    with pytest.raises(InventoryError, match="not UTF-8"):
        load_inventory(tmp_path / "inventory.yaml")
    with pytest.raises(InventoryError, match=r"absent\.yaml: cannot be read: No such file"):
        load_inventory(tmp_path / "absent.yaml")
    with pytest.raises(InventoryError, match="cannot be read: Is a directory"):
        load_inventory(tmp_path)


def test_size_and_depth_are_bounded(tmp_path: Path) -> None:
    assert "at most" in refusal(tmp_path, "#" * (MAX_BYTES + 1))
    assert "nested deeper than" in refusal(tmp_path, "targets: " + "[" * 100_000)


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert refusal(tmp_path, bomb).startswith(":1: anchors and aliases")


def test_every_field_of_a_target_can_be_written() -> None:
    """A field of another type would need another way to be written in YAML."""
    hints = typing.get_type_hints(Target)
    assert all(hint in (str, tuple[str, ...]) or typing.get_origin(hint) is typing.Literal for hint in hints.values())
