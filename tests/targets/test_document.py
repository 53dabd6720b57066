"""Strict YAML: plain data with line numbers, and a clear refusal of everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from targets.document import MAX_BYTES, parse_document, read_document
from targets.errors import UserError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_data_reads_as_pyyaml_reads_it(value: object) -> None:
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    text = yaml.dump(value, Dumper=NoAliases, allow_unicode=True)
    assert parse_document(text, Path("x.yaml")).value == yaml.safe_load(text)


def test_where_names_the_line_of_a_value_or_of_the_nearest_above() -> None:
    document = parse_document("a: 1\nb:\n  - x\n  - y: {z: 2}\n", Path("s.yaml"))
    assert document.where(("a",)) == "s.yaml:1"
    assert document.where(("b", 1, "y", "z")) == "s.yaml:4"
    assert document.where(("b", 1, "absent", "deeper")) == "s.yaml:4"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\na: 2\n", 2, "twice"),
        ("a: &x [1]\nb: *x\n", 1, "anchors"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("a:\n\t- b\n", 2, "not valid YAML"),
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
        ("1: x\n", 1, "a key must be text"),
        ("a: 2026-01-01\n", 1, "put it in quotes"),
        ("[" * 50 + "]" * 50, 1, "nested deeper"),
    ],
)
def test_everything_but_plain_data_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        parse_document(text, Path("s.yaml"))
    assert f"s.yaml:{line}" in str(caught.value)


def test_billion_laughs_is_refused_without_unfolding() -> None:
    bomb = 'a0: &a0 "lol"\n' + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
    with pytest.raises(UserError, match="anchors"):
        parse_document(bomb, Path("bomb.yaml"))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    big, binary = tmp_path / "big.yaml", tmp_path / "binary.yaml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    binary.write_bytes(b"\xff\xfe\x00")
    for path, says in ((big, "at most"), (binary, "UTF-8"), (tmp_path / "absent.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(UserError, match=says) as caught:
            read_document(path)
        assert str(path) in str(caught.value)
