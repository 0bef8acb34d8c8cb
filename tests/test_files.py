"""Files are written completely or not at all."""

import os
import stat
from pathlib import Path

import pytest

from charlm.files import atomic, sha256_of, write_text


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["file.txt"]


def test_an_error_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_line_ends_are_unchanged(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "a\r\nb\nc")
    assert (tmp_path / "file.txt").read_bytes() == b"a\r\nb\nc"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_mode_of_the_users_other_files(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "file.txt", "text")
        (tmp_path / "other.txt").write_text("text")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    for name in ("file.txt", "other.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_the_data_are_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    synced = []

    def recorded(handle: int) -> None:
        status = os.fstat(handle)
        synced.append((status.st_ino, status.st_size, path.read_text()))
        fsync(handle)

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", recorded)
    write_text(path, "whole")
    data, folder = synced
    assert data == (path.stat().st_ino, len("whole"), "old")
    assert (folder[0], folder[2]) == (tmp_path.stat().st_ino, "whole")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file").startswith("ba7816bf8f01cfea")  # FIPS 180-2, B.1
