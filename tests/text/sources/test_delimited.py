"""CSV and TSV files are read as the `csv` module reads them."""

import csv
import io
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.sources.formats import read_file
from charlm.text.sources.records import MISSING, Request
from tests.text.sources.reading import GOOD, read, read_in_blocks_of, rejected, write_csv


def test_missing_values_are_those_of_pandas(tmp_path: Path) -> None:
    from pandas._libs.parsers import STR_NA_VALUES  # type: ignore[import-not-found]

    assert set(MISSING.to_pylist()) == STR_NA_VALUES
    values = sorted(STR_NA_VALUES)
    write_csv(
        tmp_path / "a.csv", [[number, value] for number, value in enumerate([*values, " NA"])]
    )
    table = read(tmp_path, str(tmp_path / "a.csv"), keep_columns=["label"])
    assert table["text"].to_pylist() == [None] * len(values) + [" NA"]
    assert table["label"].to_pylist() == [str(number) for number in range(len(values) + 1)]


FIELD = st.text(
    st.sampled_from(list('ab,"\n\r\t;é漢😀 '))
    | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=12), st.integers(1, 40))
def test_every_rfc_4180_table_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], block: int
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    rows = [(label, f"x{text}") for label, text in rows]
    write_csv(folder / "a.csv", rows)
    with pytest.MonkeyPatch.context() as patch:
        read_in_blocks_of(block, patch)
        table = read(folder, str(folder / "a.csv"), keep_columns=["label"])
    assert table["text"].to_pylist() == [text for _, text in rows]
    assert table["label"].to_pylist() == [label for label, _ in rows]


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from(list('ab,"\n\r')), max_size=40).map(lambda text: f"a,b\n{text}"),
    st.integers(1, 20),
)
def test_any_text_is_read_as_the_csv_module_reads_it(
    tmp_path_factory: pytest.TempPathFactory, content: str, block: int
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    (folder / "a.csv").write_bytes(content.encode())
    rows = [row for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    expected = [row[1] or None for row in rows if len(row) == 2]
    with pytest.MonkeyPatch.context() as patch:
        read_in_blocks_of(block, patch)
        table = read_or_message(folder)
    bad = rejected(folder) if isinstance(table, pa.Table) else []
    assert read_or_message(folder) == table
    if isinstance(table, str):
        assert not any(expected) or '"' in content
        return
    assert not bad or rejected(folder) == bad
    swallowed = {row["row"] - 1 for row in bad if "closes within a field" in row["reason"]}
    assert not swallowed or '"' in content
    assert table["text"].to_pylist() == [
        row[1] or None for place, row in enumerate(rows) if len(row) == 2 and place not in swallowed
    ]
    assert len(bad) + len(table) == len(rows)


def read_or_message(folder: Path) -> pa.Table | str:
    """Return the documents of a file, or the error message."""
    try:
        return read(folder, str(folder / "a.csv"), text_columns=["b"])
    except CharlmError as error:
        return str(error)


def test_line_ends_within_quotes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'text,n\r\n"a\r\nb\rc\nd",1\r\ne,2\rf,3\n')
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["text"].to_pylist() == ["a\r\nb\rc\nd", "e", "f"]


@pytest.mark.parametrize("size", range(20, 40))
def test_a_line_end_of_two_characters_is_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    read_in_blocks_of(size, monkeypatch)
    rows = [[number, "a\r\nb"] for number in range(100)]
    write_csv(tmp_path / "a.csv", rows)
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["text"].to_pylist() == ["a\r\nb"] * 100


def test_texts_that_look_like_records_are_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in_blocks_of(100, monkeypatch)
    texts = ["1,a text\n" * lines for lines in range(1, 50)]
    write_csv(tmp_path / "a.csv", enumerate(texts))
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == texts


def test_a_stray_quote_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'text,n\n5" disk,1\n"the ""best""",2\n"ab"cd,3\n')
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["text"].to_pylist() == ['5" disk', 'the "best"', "abcd"]


def test_a_field_of_a_hundred_megabytes_is_read(tmp_path: Path) -> None:
    text = "long, text\nline " * 6_000_000 + 'with "quotes"\n' * 100_000
    write_csv(tmp_path / "a.csv", [[1, "first"], [2, text], [3, "last"]])
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["first", text, "last"]


def test_a_numeric_column_is_taken_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n007\n1.50\nTrue\n")
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["007", "1.50", "True"]


def test_a_csv_that_shrinks_while_it_is_parsed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in_blocks_of(1000, monkeypatch)
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD * 20)
    request = Request("a.csv", ("text",), (), "", "utf-8")
    records = read_file(path, request, "csv")
    next(records)
    os.truncate(path, 300_000)
    with pytest.raises(CharlmError, match=r"^a.csv: it shrank from 417,940 to"):
        list(records)
