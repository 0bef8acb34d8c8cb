"""Parquet files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.errors import CharlmError
from tests.text.sources.reading import read, rejected


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", "b"]).dictionary_encode(),
            "number": [1.5, None],
            "when": pa.array([1, 2], pa.timestamp("s")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    result = read(tmp_path, str(tmp_path / "a.parquet"), keep_columns=["number", "when"])
    assert result["text"].to_pylist() == ["a", "b"]
    assert result["number"].to_pylist() == [1.5, None]
    assert pa.types.is_timestamp(result["when"].type)


def test_parquet_rows_that_do_not_decode_are_rejected(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"b\xffd", None, b"fine"])
    text = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    table = read(tmp_path, str(tmp_path / "a.parquet"))
    assert table["text"].to_pylist() == ["good", None, "fine"]
    assert table["doc_id"].to_pylist() == [0, 2, 3]
    assert rejected(tmp_path)[0]["row"] == 2


def test_parquet_files_of_different_types_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), "a.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": ["x"]}), "b.parquet")
    with pytest.raises(CharlmError, match=r"^b.parquet: its columns differ from the first file's"):
        read(tmp_path, "*.parquet", keep_columns=["n"])
