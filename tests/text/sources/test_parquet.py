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


EMPTY_FIRST = {
    "null": ([None, None], ["x", None]),
    "float": (pa.array([None, None], pa.float64()), ["x", None]),
    "later": (["x", None], pa.array([None, None], pa.float64())),
    "lists": ([[], None], [["x"], None]),
    "categories": (pa.array([None, None], pa.string()).dictionary_encode(), ["x", None]),
    "times": (pa.array([None, None], pa.float64()), pa.array([1, None], pa.timestamp("s"))),
    "no rows": (pa.array([], pa.float64()), ["x", None]),
}
"""A column to keep in the first and second file."""


@pytest.mark.parametrize("case", EMPTY_FIRST)
def test_a_kept_column_may_have_no_values_in_some_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = [pa.array(column) for column in EMPTY_FIRST[case]]
    for name, column in zip("ab", columns, strict=True):
        pq.write_table(pa.table({"text": ["t"] * len(column), "n": column}), f"{name}.parquet")
    table = read(tmp_path, "?.parquet", keep_columns=["n"])
    assert table["n"].to_pylist() == [value for column in columns for value in column.to_pylist()]


def test_a_column_without_any_values_keeps_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, kind in (("a", pa.float64()), ("b", pa.string())):
        nothing = pa.array([None], kind)
        pq.write_table(pa.table({"text": ["t"], "n": nothing}), f"{name}.parquet")
    assert read(tmp_path, "?.parquet", keep_columns=["n"])["n"].type == pa.float64()


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.string(), 2),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.binary()),
    ],
)
def test_lists_of_strings_are_joined(tmp_path: Path, kind: pa.DataType) -> None:
    lists = pa.array([["a", "b"], None, ["c", None]], kind)
    pq.write_table(pa.table({"text": lists}), tmp_path / "a.parquet")
    table = read(tmp_path, str(tmp_path / "a.parquet"), separator=" ")
    assert table["text"].to_pylist() == ["a b", None, "c"]


def test_text_without_values_and_numbers(tmp_path: Path) -> None:
    for column, texts in (
        (pa.array([1.5, float("nan"), None]), ["1.5", None, None]),
        (pa.array([[], None], pa.list_(pa.null())), [None, None]),
    ):
        more = [None] * len(column)
        table = pa.table({"text": column, "more": pa.array(["m", *more[1:]])})
        pq.write_table(table, tmp_path / "a.parquet")
        source = str(tmp_path / "a.parquet")
        joined = read(tmp_path, source, text_columns=["text", "more"], separator=" ")
        assert joined["text"].to_pylist() == [f"{texts[0]} m" if texts[0] else "m", *texts[1:]]


def test_a_text_with_a_nul_is_rejected_as_in_csv(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b\0c", None], "n": [1, 2, 3]}), tmp_path / "a.parquet")
    table = read(tmp_path, str(tmp_path / "a.parquet"), keep_columns=["n"])
    assert table.to_pydict() == {"doc_id": [0, 2], "text": ["a", None], "n": [1, 3]}
    assert rejected(tmp_path)[0]["reason"] == "a NUL byte at character 2 of column 'text'"
