"""Files are found in a fixed order, used only with their pinned bytes, and downloaded whole or not at all."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data import Source
from harness.data.sources.files import Pinned, download, find_folder, places
from harness.errors import UserError

CONTENT = b"the bytes"
FILE = Pinned("birds", "birds.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), how="net them")


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_places_are_the_sets_own_folder_the_shelf_and_the_cache(
    shelf: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places("birds") == (shelf / "birds", shelf, own_cache / "data" / "birds")
    monkeypatch.delenv("ASSAY_DATA")
    assert places("birds") == (own_cache / "data" / "birds",)


def test_the_first_place_that_has_the_file_is_taken(shelf: Path, own_cache: Path) -> None:
    cached = put(own_cache / "data" / "birds" / "birds.bin")
    assert FILE.find() == cached
    loose = put(shelf / "birds.bin")
    assert FILE.find() == loose
    assert FILE.read() == CONTENT and FILE.source() == Source(str(loose))


def test_a_missing_file_without_an_address_says_where_it_was_looked_for(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=rf"birds: no `birds.bin` in {shelf}/birds, {shelf}, .*; net them"):
        FILE.read()
    monkeypatch.delenv("ASSAY_DATA")
    with pytest.raises(UserError, match=r"\(\$ASSAY_DATA, a folder of data sets, is not set\); net them"):
        FILE.source()


@pytest.mark.parametrize(
    ("content", "says"), [(b"the Bytes", "has sha256"), (b"the byte", "has 8 bytes, not 9"), (b"", "has 0 bytes")]
)
def test_other_bytes_are_refused(shelf: Path, content: bytes, says: str) -> None:
    put(shelf / "birds.bin", content)
    with pytest.raises(UserError, match=f"birds.bin {says}.*delete it and get it again: net them"):
        FILE.read()


def test_a_download_is_announced_then_made_once(server: Any, own_cache: Path) -> None:
    file = replace(FILE, url=f"{server.url}/birds.bin")
    assert file.source() == Source(file.url, 9)
    server.files["birds.bin"] = CONTENT
    assert file.read() == CONTENT
    server.files.clear()
    assert file.read() == CONTENT and file.source() == Source(str(own_cache / "data" / "birds" / "birds.bin"))
    assert [path.name for path in (own_cache / "data" / "birds").iterdir()] == ["birds.bin"]


@pytest.mark.parametrize("content", [CONTENT + b"!", b"the bytez", b""])
def test_a_download_of_other_bytes_leaves_nothing(server: Any, own_cache: Path, content: bytes) -> None:
    server.files["birds.bin"] = content
    with pytest.raises(UserError, match="has sha256"):
        replace(FILE, url=f"{server.url}/birds.bin").read()
    assert not (own_cache / "data").exists()


def test_a_failed_download_says_how_else_to_get_it(server: Any) -> None:
    with pytest.raises(UserError, match=r"birds\.bin is not here, and http.*404.*; net them"):
        replace(FILE, url=f"{server.url}/birds.bin").read()


def test_no_more_than_the_limit_is_read(server: Any, tmp_path: Path) -> None:
    server.files["big"] = bytes(10**6)
    seen: list[int] = []
    download(f"{server.url}/big", tmp_path / "big", 1000, lambda content: seen.append(len(content)), "")
    assert seen == [1001]


def test_threads_that_want_the_same_file_wait_for_one_of_them(server: Any, tmp_path: Path) -> None:
    server.files["birds.bin"] = CONTENT
    checked: list[bytes] = []
    threads = [
        threading.Thread(target=download, args=(f"{server.url}/birds.bin", tmp_path / "b", 9, checked.append, ""))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert checked == [CONTENT]


def test_a_folder_is_the_one_given_or_the_one_on_the_shelf(shelf: Path, tmp_path: Path) -> None:
    (shelf / "nest").mkdir()
    (tmp_path / "mine").mkdir()
    assert find_folder("birds", "nest", "", "net them") == shelf / "nest"
    assert find_folder("birds", "nest", str(tmp_path / "mine"), "net them") == tmp_path / "mine"
    with pytest.raises(UserError, match="`absent` is no folder; net them"):
        find_folder("birds", "nest", "absent", "net them")
    with pytest.raises(UserError, match=r"no `cage` in .*; net them"):
        find_folder("birds", "cage", "", "net them")
