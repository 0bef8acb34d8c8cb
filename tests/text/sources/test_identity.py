"""A file that another one replaced is noticed by its content, whatever its times."""

import os
from pathlib import Path

import pytest

from charlm.text.sources import identity
from charlm.text.sources.identity import content_digests


def test_an_older_file_in_its_place_has_another_digest(tmp_path: Path) -> None:
    source, memory = tmp_path / "posts.csv", tmp_path / "memory.json"
    source.write_text("one")
    (first,) = content_digests([source, tmp_path / "gone.csv"], memory)
    (tmp_path / "backup").write_text("two")
    os.utime(tmp_path / "backup", (1, 1))
    (tmp_path / "backup").replace(source)
    (second,) = content_digests([source], memory)
    assert first != second
    source.unlink()
    source.write_text("one")
    assert content_digests([source], memory) == [first]


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, memory = tmp_path / "posts.csv", tmp_path / "memory.json"
    source.write_text("text")
    first = content_digests([source], memory)
    monkeypatch.setattr(identity, "_digest", lambda path, size: "read again")
    assert content_digests([source], memory) == first
    memory.write_text("[")
    assert content_digests([source], memory) == ["read again"]


def test_blocks_of_a_large_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WHOLE", 1000)
    monkeypatch.setattr(identity, "BLOCK", 10)
    source = tmp_path / "large.csv"
    data = bytes(range(256)) * 100
    digests = set()
    for changed in (None, 5, len(data) // 2, len(data) - 1):
        content = bytearray(data)
        if changed is not None:
            content[max(changed - 300, 0) : changed + 300] = b"x" * 600
        source.write_bytes(content[: len(data)])
        digests.update(content_digests([source], tmp_path / f"{changed}.json"))
    assert len(digests) == 4
