"""Text files of every encoding and compression."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from charlm.errors import CharlmError
from charlm.text.sources import decoding
from charlm.text.sources.records import Request
from tests.text.sources.reading import GOOD, parquet, read, rejected, zstd_frame


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt", "parquet"])
def test_compressed_files(tmp_path: Path, kind: str, ending: str) -> None:
    text = "a word é " * 1000
    content = {
        "csv": f"text\n{text}\n".encode(),
        "jsonl": json.dumps({"text": text}).encode(),
        "txt": text.encode(),
        "parquet": parquet(text=[text]),
    }[kind]
    path = tmp_path / f"a.{kind}.{ending}"
    with pa.CompressedOutputStream(str(path), "gzip" if ending == "gz" else "zstd") as file:
        file.write(content)
    assert read(tmp_path, str(path))["text"].to_pylist() == [text]


def test_a_gzip_file_of_several_members(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\none\n") + gzip.compress(b"two\n"))
    assert read(tmp_path, str(tmp_path / "a.csv.gz"))["text"].to_pylist() == ["one", "two"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_gzip_file_padded_with_zeros(tmp_path: Path, kind: str) -> None:
    content = b"text\none\n" if kind == "csv" else parquet(text=["one"])
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(gzip.compress(content) + bytes(512))
    assert read(tmp_path, str(path))["text"].to_pylist() == ["one"]


def test_a_zstd_window_of_128_mib(tmp_path: Path) -> None:
    (tmp_path / "a.csv.zst").write_bytes(zstd_frame(b"text\none\n", window_log=27))
    assert read(tmp_path, str(tmp_path / "a.csv.zst"))["text"].to_pylist() == ["one"]


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-8"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
        ("latin-1", "latin-1"),
        ("shift_jis", "shift_jis"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_encodings(tmp_path: Path, written: str, named: str, kind: str) -> None:
    text = "漢字 カナ" if written == "shift_jis" else "naïve “café”" if "1" not in written else "né"
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        content = f"text,n\n{text},1\nplain,2\n"
    else:
        content = "\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in (text, "plain"))
    path.write_bytes(content.encode(written))
    assert read(tmp_path, str(path), encoding=named)["text"].to_pylist() == [text, "plain"]


def test_undecodable_rows_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,n\ngood,1\nb\xffd,2\n\xed\xa0\x80,3\ngo\xc3\xa9d,4\n")
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["doc_id"].to_pylist() == [0, 3]
    assert table["text"].to_pylist() == ["good", "goéd"]
    first, second = rejected(tmp_path)
    assert first == {
        "source": "a.csv",
        "row": 2,
        "reason": "bytes that do not decode at character 2 of column 'text'",
        "excerpt": "b?d,2",
    }
    assert second["row"] == 3


def test_undecodable_bytes_of_utf_16_are_rejected(tmp_path: Path) -> None:
    content = "text\ngood\nb".encode("utf-16") + b"\x00\xd8" + "d\nfine\n".encode("utf-16-le")
    (tmp_path / "a.csv").write_bytes(content)
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["good", "fine"]
    assert [row["row"] for row in rejected(tmp_path)] == [2]


def test_undecodable_bytes_in_a_column_that_is_not_read_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,other\ngood,\xff\n")
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["good"]


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD * 200)
    chunks = decoding.utf8_chunks(path, None, Request("a.csv", ("text",), (), "", "utf-8"))
    next(chunks)
    os.truncate(path, decoding.READ_BYTES + 10)
    with pytest.raises(CharlmError, match=r"^a.csv: it shrank from 4,179,400 to"):
        list(chunks)


CESU_8 = b"smile \xed\xa0\xbd\xed\xb8\x80"


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", b"text\n" + CESU_8, "character 7 of column 'text'"),
        ("a.jsonl", b'{"text": "' + CESU_8 + b'"}', "offset 16"),
        ("a.txt", CESU_8, "character 7 of column 'text'"),
    ],
)
def test_cesu_8_is_called_that_and_can_be_read(
    tmp_path: Path, name: str, content: bytes, place: str
) -> None:
    (tmp_path / name).write_bytes(content)
    reason = f"a character in CESU-8 instead of UTF-8 at {place}; .* set corpus.encoding to utf-8-v"
    with pytest.raises(CharlmError, match=reason):
        read(tmp_path, str(tmp_path / name), max_rejected_fraction=0.0)
    table = read(tmp_path, str(tmp_path / name), encoding="utf-8-variants")
    assert table["text"].to_pylist() == ["smile 😀"]
