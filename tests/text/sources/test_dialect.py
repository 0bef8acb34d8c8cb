"""CSV and TSV files of other dialects are read with the right settings, and ask for them."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.sources import decoding
from charlm.text.sources.dialect import Dialect
from tests.text.sources.reading import read, read_in_blocks_of, rejected

ESCAPED = rb"""text,n
"He said \"hi\" to me.",1
"ends with \"quote\"",2
"two
lines, and \"q\"",3
a \\ b,4
\N,5
"""

UNQUOTED = b"""n\ttext
1\t"Nobody told me
2\tHe was "Ace" by all.
3\t"
4\t5" disk"
"""

READ: dict[str, tuple[str, bytes, dict[str, Any], list[str | None]]] = {
    "escapes": (
        "a.csv",
        ESCAPED,
        {"csv": {"escapechar": "\\", "na_values": ["\\N"]}},
        ['He said "hi" to me.', 'ends with "quote"', 'two\nlines, and "q"', "a \\ b", None],
    ),
    "no quotes": (
        "a.tsv",
        UNQUOTED,
        {"csv": {"quoting": "none"}},
        ['"Nobody told me', 'He was "Ace" by all.', '"', '5" disk"'],
    ),
    "escapes without quotes": (
        "a.tsv",
        b"n\ttext\n1\ta\\\tb\\\nc\n2\t\\N\n",
        {"csv": {"quoting": "none", "escapechar": "\\", "na_values": ["\\N"]}},
        ["a\tb\nc", None],
    ),
    "single quotes": (
        "a.csv",
        b"'n','text'\n'1','it''s, \"so\"'\n2,'two\r\nlines'\n",
        {"csv": {"quotechar": "'"}},
        ['it\'s, "so"', "two\r\nlines"],
    ),
    "a named delimiter": ("a.csv", b"n|text\n1|a,b\n", {"csv": {"delimiter": "|"}}, ["a,b"]),
    "semicolons": ("a.csv", b"n;text\n1;a, b\n", {}, ["a, b"]),
    "semicolons, and a comma in the header": ("a.csv", b"n, m;text\n1;a\n", {}, ["a"]),
    "a separator line": ("a.csv", b"sep=;\r\nn;text\r\n1;a,b\r\n", {}, ["a,b"]),
    "a separator line before a single column": ("a.csv", b"sep=;\ntext\na, b\n", {}, ["a, b"]),
    "a quoted separator line": ("a.csv", b'"sep=\t"\nn\ttext\n1\ta,b\n', {}, ["a,b"]),
    "no header": (
        "a.csv",
        b"1,a\n2,b\n",
        {"csv": {"header": None}, "text_columns": [1], "keep_columns": [0]},
        ["a", "b"],
    ),
    "titles above the header": (
        "a.csv",
        b"Export of May\n\nby me\nn,text\n1,a\n",
        {"csv": {"header": 2}},
        ["a"],
    ),
    "comments": (
        "a.csv",
        b'#1 "\nn,text\n# a comment, with "quotes\n1,"a\n# b"\n2,c # d\n#\n',
        {"csv": {"comment": "#"}},
        ["a\n# b", "c # d"],
    ),
    "null markers": (
        "a.csv",
        b"text,n\n-,1\nNA,2\n--,3\n",
        {"csv": {"na_values": ["-"]}},
        [None, None, "--"],
    ),
}


@pytest.mark.parametrize("size", [None, 8, 30])
@pytest.mark.parametrize("case", READ)
def test_a_dialect_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, size: int | None
) -> None:
    name, content, options, texts = READ[case]
    (tmp_path / name).write_bytes(content)
    if size:
        read_in_blocks_of(size, monkeypatch)
    table = read(tmp_path, str(tmp_path / name), **options)
    assert table["text"].to_pylist() == texts
    assert rejected(tmp_path) == []


FIELD = st.text(st.sampled_from(list('ab,\t;"\n\\# é')), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=10),
    st.sampled_from([",", "\t", ";"]),
    st.booleans(),
    st.integers(5, 40),
)
def test_every_table_of_a_dialect_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    delimiter: str,
    quotes: bool,
    block: int,
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    rows = [(f"x{number}", f"x{text}") for number, text in rows]
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(
            *(file, "excel"),
            delimiter=delimiter,
            quoting=csv.QUOTE_ALL if quotes else csv.QUOTE_NONE,
            escapechar="\\",
            doublequote=False,
            quotechar='"' if quotes else None,
            lineterminator="\n",
        ).writerows([("n", "text"), *rows])
    options = {"delimiter": delimiter, "escapechar": "\\"}
    options |= {} if quotes else {"quoting": "none"}
    with pytest.MonkeyPatch.context() as patch:
        read_in_blocks_of(block, patch)
        table = read(folder, str(folder / "a.csv"), keep_columns=["n"], csv=options)
    assert table["text"].to_pylist() == [text for _, text in rows]
    assert table["n"].to_pylist() == [number for number, _ in rows]


def test_a_row_is_what_the_csv_module_reads() -> None:
    text = 'a,"b\nc"\r\n\n\nd,e\n'
    rows = list(Dialect(",").rows(text))
    assert [row.values for row in rows] == [row for row in csv.reader(io.StringIO(text)) if row]
    assert [text[row.start : row.end] for row in rows] == ['a,"b\nc"\r\n', "d,e\n"]
    assert [(row.line, row.lines) for row in rows] == [(0, 2), (4, 1)]


SAID: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "a delimiter": ("a.csv", b"n;text\n1;a\n", {}, "a.csv: its delimiter is ';'; set corpus.csv.d"),
    "lost quotes": (
        "a.tsv",
        b'n\ttext\n1\ta\n2\t"Ace" was here\n3\t"B" too\n',
        {},
        "a.tsv: row 2: a field goes on after its closing quote, and has lost its quotes; set "
        "corpus.csv.quoting to none if the file does not quote (2 such records)",
    ),
    "lost quotes among commas": (
        "a.csv",
        b'n,text\n2,"Ace" was here\n',
        {},
        "row 1: a field goes on after its closing quote",
    ),
    "records within quotes": (
        "a.csv",
        b'n,text\n0,"he left\n' + b"1,a\n" * 20 + b'2,and so did she"\n3,b\n',
        {},
        "row 1: several lines within one pair of quotes, and they look like records",
    ),
    "a few records within quotes": (
        "a.csv",
        b'n,text\n8,a text that is longer than those\n9,"he left\n10,a\n11,and so did she"\n',
        {},
        "row 2: several lines within one pair of quotes, and they look like records",
    ),
    "single quotes": (
        "a.csv",
        b"n,text\n1,'a'\n2,'b'\n3,c\n",
        {},
        'a.csv: most texts begin and end with a single quote; set corpus.csv.quotechar to "\'" if',
    ),
    "single quotes around a delimiter": (
        "a.csv",
        b"n,text\n1,'a, b'\n2,b\n",
        {},
        "row 1: 3 fields, not 2; 1 of 2 records cannot be used (50.00%), see rejected.parquet; set "
        'corpus.csv.quotechar to "\'" if',
    ),
    "two records within quotes": (
        "a.tsv",
        b'n\ttext\n1\tlong enough to be the longest of them\n2\t"he left\n3\tand she"\n',
        {},
        "row 2: several lines within one pair of quotes, and they look like records",
    ),
    "a text far longer than others": (
        "a.csv",
        b"text\n" + b"a line\n" * 300 + b'"' + b"b\n" * 5000 + b'"\n',
        {},
        "row 301: many lines within one pair of quotes, far more than in others",
    ),
    "a single column without a header": (
        "a.csv",
        b"1;a\n2;b\n",
        {"csv": {"header": None}, "text_columns": [0]},
        "a.csv: it is read as a single column; if ';' is its delimiter, set corpus.csv.delimiter",
    ),
    "some escaped quotes": (
        "a.csv",
        rb"""text,n
a,1
"a \"b\" c",2
""",
        {},
        r"see rejected.parquet; set corpus.csv.escapechar to '\'",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_doubt_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str) -> None:
    name, content, options, line = SAID[case]
    (tmp_path / name).write_bytes(content)
    read(tmp_path, str(tmp_path / name), **options)
    [message] = [record.getMessage() for record in caplog.records]
    assert line in message


def test_lost_quotes_of_tab_separated_files_are_found_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoding, "READ_BYTES", 20)
    (tmp_path / "a.tsv").write_bytes(b"n\ttext\n" + b"1\ta\n" * 50 + b'2\t"Ace" was here\n')
    read(tmp_path, str(tmp_path / "a.tsv"))
    assert "a.tsv: row 51: a field goes on after its closing quote" in caplog.text


REGULAR = [
    b'n,text\n1,"a ""b"" c"\n2,5" disk\n3,"c:\\"\n',
    b'n,text\n1,"he: ""no"", she: ""yes""\n""so"""\n2,"\n"\n3,","\n',
    b"n,text\n" + b"1,a\\\n" * 20,
    b'text\n"' + b"a line\n" * 50 + b'"\n"' + b"b\n" * 60 + b'"\n',
]


@pytest.mark.parametrize("content", REGULAR)
def test_nothing_is_said_of_regular_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    read(tmp_path, str(tmp_path / "a.csv"))
    assert not caplog.records


@pytest.mark.parametrize("size", [None, 16, 64])
def test_line_numbers_count_over_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    if size:
        read_in_blocks_of(size, monkeypatch)
    lines = ['"a\nb",1\r\n'] * 20
    content = f'# c\ntext,n\n{"".join(lines)}"open,2\n"close,3\n{"".join(lines)}"last,4\n'
    (tmp_path / "a.csv").write_bytes(content.encode())
    with pytest.raises(CharlmError, match=r"line 85: the quote that opens here is never closed"):
        read(tmp_path, str(tmp_path / "a.csv"), csv={"comment": "#"})
    (tmp_path / "a.csv").write_bytes(content.replace('"last', "last").encode())
    read(tmp_path, str(tmp_path / "a.csv"), csv={"comment": "#"})
    [row] = rejected(tmp_path)
    assert row["reason"].startswith("the quote that opens in line 43 takes in 2 lines")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"n,text\n1,\\N\n2,a\n", {}, r"na_values to ['\N']"),
        (b"n,text\n1,a\nn,text\n2,b\n", {}, "a record looks like the header"),
        (b"n,text\n1,a \\n b\n", {"escapechar": "\\"}, r"escapes such as \n lose their backslash"),
    ],
)
def test_odd_values_are_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    options: dict[str, object],
    said: str,
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    read(tmp_path, str(tmp_path / "a.csv"), csv=options)
    assert [said in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"n,text\n1,\\N\n2,a\n", {"na_values": [r"\N"]}),
        (b"n,text\n1,text\nn,a\n2,b\n", {}),
        (b"n,text\n1,C:\\\\new\n", {"escapechar": "\\"}),
        (b"n,text\n1,a \\n b\n", {}),
    ],
)
def test_other_values_are_not_odd(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, options: dict[str, object]
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    read(tmp_path, str(tmp_path / "a.csv"), csv=options, keep_columns=["n"])
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "row", "fix"),
    [
        ("a.tsv", b"1\tone \\\ntwo\n", "corpus.csv.escapechar"),
        ("a.tsv", b"1\tone \\\ttwo\n", "corpus.csv.escapechar"),
        ("a.tsv", b'"1\ttwo"\n', "corpus.csv.quoting"),
        ("a.csv", b'"1,two"\n', "fix the source"),
        ("a.csv", b"1,two,three\n", "fix the source"),
    ],
)
def test_a_wrong_number_of_fields_may_show_the_setting(
    tmp_path: Path, name: str, row: bytes, fix: str
) -> None:
    mark = b"\t" if name.endswith("tsv") else b","
    (tmp_path / name).write_bytes(mark.join([b"n", b"text\n1", b"a\n"]) + row)
    with pytest.raises(CharlmError, match=fix):
        read(tmp_path, str(tmp_path / name), max_rejected_fraction=0.0)


def test_records_within_a_column_that_is_not_read_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"review {number},x\n" for number in range(30)]
    swallowed = "".join(['opener,"open\n', *rows[:20], 'closer,close"\n'])
    (tmp_path / "a.csv").write_text("review,m\n" + "".join([*rows, swallowed, *rows]))
    read(tmp_path, str(tmp_path / "a.csv"), text_columns=["review"])
    assert "a.csv: row 31: several lines within one pair of quotes" in caplog.text
    caplog.clear()
    (tmp_path / "a.csv").write_text('review,m\na,"b\nc"\n\n\nd,e\n')
    read(tmp_path, str(tmp_path / "a.csv"), text_columns=["review"])
    assert not caplog.records
