"""The inventory: what is written is what is loaded, and whatever is wrong is told with its line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from targets.document import MAX_BYTES
from targets.errors import UserError
from targets.inventory import add_entry, check_is_new, entry_text, load_inventory, remove_entry, written_inventory
from targets.target import Target

EXAMPLE = Path(__file__).resolve().parents[2] / "targets" / "inventory.example.yaml"


def load(tmp_path: Path, text: str) -> dict[str, Target]:
    path = tmp_path / "inventory.yaml"
    path.write_text(text, encoding="utf-8")
    return load_inventory(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
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
        "board-1", "local", kind="gpu", isa="aarch64", cpu="cortex_a72", host="desk", address="board", port=2222, user="pi",
        key_file="~/.ssh/board", known_hosts="~/.ssh/board_hosts", secret_env="BOARD_PASS", jump="me@gate:22", connect_s=5.0,
        work_dir="/var/tmp/x", lease_dir="/run/x", python="/usr/bin/python3", meters=("hwmon",), tags=("arm", "hot"), thread_counts=(1, 4),
        frequencies_hz=(600_000_000, 1_500_000_000), sysfs="/tmp/sys", android_quiet=True, power_cycle=("uhubctl", "-a", "cycle"),
        max_celsius=70.0, max_run_s=600.0, max_disk_bytes=1 << 30, origin="emulated", cpu_quota=0.5, counts_instructions=True,
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


def test_an_emulators_times_are_emulated_whether_or_not_the_file_says_so(tmp_path: Path) -> None:
    written = (
        "targets:\n  a: {transport: qemu, isa: riscv64}\n  b: {transport: qemu, isa: riscv64, origin: emulated, python: none}\n"
    )
    _, a, b = load(tmp_path, written).values()
    assert (a.origin, a.python) == ("emulated", "none") and dataclasses.replace(a, name="b") == b


def test_the_environment_names_the_file_and_an_argument_overrides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named.yaml").write_text("targets: {named: {}}")
    (tmp_path / "given.yaml").write_text("targets: {given: {}}")
    monkeypatch.setenv("ASSAY_INVENTORY", str(tmp_path / "named.yaml"))
    assert list(load_inventory()) == ["local", "named"]
    assert list(load_inventory(tmp_path / "given.yaml")) == ["local", "given"]


def test_the_example_loads() -> None:
    targets = load_inventory(EXAMPLE)
    assert {name: target.host for name, target in targets.items()} == {
        "local": "localhost", "local-system-python": "localhost", "kitchen": "kitchen.local", "arm-emulated": "localhost",
        "rack": "rack-7@coordinator.lab:20408", "phone": "R58M123ABC",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets:\n  a:\n    transprt: local\n", ":3: unknown key `transprt`. Did you mean `transport`?"),
        ("targets:\n  a:\n    name: b\n", ":3: the name of target `a` is its key"),
        ("\ntarget:\n  a: {}\n", ":2: unknown key `target`. Did you mean `targets`?"),
        ("targets:\n  a:\n    transport: locl\n", ":3: unknown transport `locl`. Did you mean `local`?"),
        ("targets:\n  a:\n\n    kind: toaster\n", ":4: kind: Input should be 'cpu', 'gpu', 'fpga' or 'mcu'"),
        ("targets:\n  a:\n    cpu: 7\n", ":3: cpu: Input should be a valid string"),
        ("targets:\n  a:\n    cpu:\n", ":3: cpu: Input should be a valid string"),
        ("targets:\n  a:\n    tags: [x, 3]\n", ":3: tags.1: Input should be a valid string"),
        ("targets:\n  a:\n    tags: x\n", ":3: tags: Input should be a valid array"),
        ("targets:\n  a:\n    cpu: {b: c}\n", ":3: cpu: Input should be a valid string"),
        ("targets:\n  a:\n    port: '22'\n", ":3: port: Input should be a valid integer"),
        ("targets:\n  a:\n    power_cycle: usbreset 1\n", ":3: power_cycle: Input should be a valid array"),
        ("targets:\n  a:\n    transport: ssh\n    address: x\n", ":2: target `a`: say its `isa`"),
        ("targets:\n  a:\n    transport: qemu\n    isa: aarch64\n    origin: measured\n", ":5: with the transport `qemu`, `origin` is `emulated`"),
        ("targets:\n  a:\n    transport: qemu\n    isa: aarch64\n    python: python3\n", ":5: with the transport `qemu`, `python` is `none`"),
        ("targets:\n  a:\n    transport: qemu\n", ":2: target `a`: say its `isa`"),
        ("targets:\n  a:\n    cpu: 2024-01-01\n", ":3: `2024-01-01` reads as date; put it in quotes"),
        ("targets:\n  a/b: {}\n", ":2: target name 'a/b'"),
        ("targets:\n  ..: {}\n", ":2: target name '..'"),
        ("targets:\n  7: {}\n", ":2: a key must be text"),
        ("targets:\n  a: {}\n  a: {}\n", ":3: key `a` appears twice"),
        ("targets:\n  a:\n    cpu: x\n    cpu: y\n", ":4: key `cpu` appears twice"),
        ("targets: [a, b]\n", ":1: targets must be a mapping"),
        ("- a\n", ":1: the inventory must be a mapping"),
        ("targets:\n  a: text\n", ":2: targets.a must be a mapping"),
        ("targets:\n  a: {\n", ":3: not valid YAML"),
        ("targets:\n\tb: {}\n", ":2: not valid YAML"),
        ("targets:\n  a: &x {}\n  b: *x\n", ":2: anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]\n", ":1: tag "),
        ("targets:\n  a:\n    cpu: !!python/name:os.system x\n", ":3: tag "),
        ("--- {}\n--- {}\n", ":2: not valid YAML: but found another document"),
        ("targets: \x00\n", ": not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_bytes(b"targets: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load_inventory(tmp_path / "inventory.yaml")
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read: No such file"):
        load_inventory(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_inventory(tmp_path)


def test_size_and_depth_are_bounded(tmp_path: Path) -> None:
    assert "at most" in refusal(tmp_path, "#" * (MAX_BYTES + 1))
    assert "nested deeper than" in refusal(tmp_path, "targets: " + "[" * 100_000)


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert refusal(tmp_path, bomb).startswith(":1: anchors and aliases")


NEW = Target("new", tags=("arm",))
ENTRY = "new:  # a board\n  tags: [arm]\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "targets:\n  new:  # a board\n    tags: [arm]\n"),
        ("", "targets:\n  new:  # a board\n    tags: [arm]\n"),
        ("# mine\ntargets:\n", "# mine\ntargets:\n  new:  # a board\n    tags: [arm]\n"),
        ("targets:\n  a: {}", "targets:\n  a: {}\n  new:  # a board\n    tags: [arm]\n"),
        (
            "targets:  # all\n\n    # the first\n    a:\n      cpu: x  # why\n    # the end\n",
            "targets:  # all\n\n    # the first\n    a:\n      cpu: x  # why\n    # the end\n    new:  # a board\n      tags: [arm]\n",
        ),
    ],
)
def test_an_entry_is_appended_and_all_else_stays(tmp_path: Path, before: str | None, after: str) -> None:
    path = tmp_path / "inventory.yaml"
    if before is not None:
        path.write_text(before)
        path.chmod(0o600)
    add_entry(path, NEW, ENTRY)
    assert path.read_text() == after and load_inventory(path)["new"] == NEW
    assert before is None or path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["inventory.yaml"]


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("targets: {a: {}}\n", "write this below `targets:` yourself"),
        ("targets: {}\n", "write this below `targets:` yourself"),
        ("targets:\n  a: {}\n...\n", "write this below `targets:` yourself"),
        ("targets:\n  new: {}\n", "there is a target `new` already"),
        ("targets:\n  a: {transprt: x}\n", ":2: unknown key"),
    ],
)
def test_an_inventory_that_cannot_be_added_to_stays_as_it_is(tmp_path: Path, before: str, says: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(before)
    with pytest.raises(UserError, match=says):
        add_entry(path, NEW, ENTRY)
    assert path.read_text() == before


@pytest.mark.parametrize("name", ["local", "a/b", ""])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="target"):
        check_is_new(tmp_path / "inventory.yaml", name)


def test_what_is_written_into_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_INVENTORY", raising=False)
    with pytest.raises(UserError, match="--inventory"):
        written_inventory()
    monkeypatch.setenv("ASSAY_INVENTORY", str(tmp_path / "named.yaml"))
    assert written_inventory() == tmp_path / "named.yaml"
    assert written_inventory(tmp_path / "given.yaml") == tmp_path / "given.yaml"


THREE = """\
# of the lab
targets:
  # the first
  one:
    tags: [a]  # inside

    cpu: cortex_a72
  # the second
  two: {tags: [b]}

  three:
    tags:
    - c
# the end
"""


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("one", "  one:\n    tags: [a]  # inside\n\n    cpu: cortex_a72\n"),
        ("two", "  two: {tags: [b]}\n"),
        ("three", "  three:\n    tags:\n    - c\n"),
        ("absent", ""),
    ],
)
def test_an_entry_is_taken_out_and_all_else_stays(tmp_path: Path, name: str, gone: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(THREE)
    path.chmod(0o640)
    before = load_inventory(path)
    remove_entry(path, name)
    assert path.read_text() == THREE.replace(gone, "", 1) and path.stat().st_mode & 0o777 == 0o640
    assert load_inventory(path) == {other: target for other, target in before.items() if other != name}


def test_what_was_added_is_taken_out_again(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(THREE)
    target = Target("four", tags=("d",))
    add_entry(path, target, entry_text(target, "the fourth"))
    assert "  four:  # the fourth\n" in path.read_text()
    remove_entry(path, "four")
    assert path.read_text() == THREE
    remove_entry(tmp_path / "absent.yaml", "four")
    assert not (tmp_path / "absent.yaml").exists()


def test_an_entry_among_others_on_one_line_is_the_users_to_take_out(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("targets: {one: {tags: [a]}, two: {tags: [b]}}\n")
    with pytest.raises(UserError, match="delete the entry `one` yourself"):
        remove_entry(path, "one")
    assert path.read_text() == "targets: {one: {tags: [a]}, two: {tags: [b]}}\n"
