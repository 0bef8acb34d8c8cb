"""Files of JSON objects, one per line."""

import json
import unicodedata
from pathlib import Path

import pytest

from charlm.errors import CharlmError
from tests.text.sources.reading import parquet, read, read_in_blocks_of, rejected


def write_lines(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_lone_surrogates_become_the_replacement_character(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ['{"text": "good"}', '{"text": "b\\ud800d\\udc00"}', '{"text": "\\ud83d\\ude00"}']
    lines.append('{"text": "x", "kept": ["\\udfff"]}')
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    table = read(tmp_path, str(tmp_path / "a.jsonl"), keep_columns=["kept"])
    assert table["text"].to_pylist() == ["good", "b\ufffdd\ufffd", "😀", "x"]
    assert table["kept"].to_pylist()[-1] == '["\ufffd"]'
    assert caplog.messages == [
        "a.jsonl: 3 lone surrogates (halves of characters such as emoji) became U+FFFD"
    ]


def test_bytes_of_surrogates_do_not_decode(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xed\xa0\xbd"}\n')
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["a"]
    assert rejected(tmp_path)[0]["reason"] == "bytes that do not decode at offset 10"


def test_numbers_become_text_and_nan_is_missing(tmp_path: Path) -> None:
    values = (5, True, None, float("nan"), "NaN", "x")
    source = write_lines(tmp_path / "a.json", *({"text": value} for value in values), {"other": 1})
    texts = ["5", "true", None, None, "NaN", "x", None]
    assert read(tmp_path, source)["text"].to_pylist() == texts


LISTS = [["a", "b"], ["c"], [], None, [None, "d", None], [None]]
JOINED = ["a|b", "c", None, None, "d", None]


def test_lists_of_strings_are_joined_in_json_as_in_parquet(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", *({"text": value} for value in LISTS))
    (tmp_path / "a.parquet").write_bytes(parquet(text=LISTS))
    for path in (source, str(tmp_path / "a.parquet")):
        assert read(tmp_path, path, separator="|")["text"].to_pylist() == JOINED


def test_other_lists_and_objects_are_no_text(tmp_path: Path) -> None:
    records = [{"text": value, "kept": value} for value in (["a", 1], [["a"]], {"a": "b"}, "x")]
    source = write_lines(tmp_path / "a.jsonl", *records)
    table = read(tmp_path, source, keep_columns=["kept"])
    assert table["text"].to_pylist() == ["x"]
    no_strings = "column 'text' holds a list of other things than strings"
    assert [row["reason"] for row in rejected(tmp_path)] == [
        no_strings,
        no_strings,
        "column 'text' holds an object, not text",
    ]


def test_kept_lists_and_objects_become_json(tmp_path: Path) -> None:
    records = [{"text": "x", "kept": value} for value in (["a", 1], {"a": "é"}, float("nan"))]
    source = write_lines(tmp_path / "a.jsonl", *records)
    table = read(tmp_path, source, keep_columns=["kept"])
    assert table["kept"].to_pylist() == ['["a", 1]', '{"a": "é"}', None]


def test_a_key_may_appear_late_or_in_one_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in_blocks_of(64, monkeypatch)
    first = write_lines(tmp_path / "a.jsonl", *[{"title": "t"}] * 100, {"body": "b"})
    second = write_lines(tmp_path / "b.jsonl", {"selftext": "s", "kept": "k"})
    columns = ["title", "body", "selftext"]
    table = read(tmp_path, [first, second], text_columns=columns, keep_columns=["kept"])
    assert table["text"].to_pylist() == ["t"] * 100 + ["b", "s"]
    assert table["kept"].to_pylist() == [None] * 101 + ["k"]


def test_a_key_that_no_file_has_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "a.jsonl", {"title": "t"}, {"body": "b"})
    write_lines(tmp_path / "b.jsonl", {"more": "m"})
    with pytest.raises(CharlmError) as caught:
        read(tmp_path, "?.jsonl", text_columns=["title", "boddy"])
    assert str(caught.value) == (
        "a.jsonl and 1 more: there is no column 'boddy'; the columns are 'title', 'body', 'more'; "
        "did you mean 'body'?"
    )


def test_a_file_without_any_text_column_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "a.jsonl", {"text": "t"}, {"body": "b"})
    write_lines(tmp_path / "b.jsonl", {"more": "m"})
    (tmp_path / "c.jsonl").write_text("{broken")  # rejected, which is reported anyway
    assert read(tmp_path, "?.jsonl")["text"].to_pylist() == ["t", None, None]
    without_text, broken = caplog.messages
    assert without_text == (
        "b.jsonl: no record has 'text', so it adds no text; leave it out of corpus.source or name "
        "its column in corpus.text_columns"
    )
    assert broken.startswith("c.jsonl: row 1: no JSON object")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("composed", [False, True])
def test_a_column_is_found_in_another_normal_form(
    tmp_path: Path, kind: str, composed: bool
) -> None:
    named, written = unicodedata.normalize("NFC", "reseña"), unicodedata.normalize("NFD", "reseña")
    if composed:
        named, written = written, named
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        write_lines(path, {"n": 1, written: "a"})
    else:
        content = parquet(n=[1], **{written: ["a"]})
        path.write_bytes(f"n,{written}\n1,a\n".encode() if kind == "csv" else content)
    table = read(tmp_path, str(path), text_columns=[named], keep_columns=[named])
    assert table.to_pylist() == [{"doc_id": 0, "text": "a", named: "a"}]


def test_json_lines_that_cannot_be_used_are_rejected(tmp_path: Path) -> None:
    lines = ['{"text": "good"}', "{broken", "[1]", "[" * 100_000, '{"text": ' + "9" * 5000 + "}"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["good"]
    reasons = [row["reason"] for row in rejected(tmp_path)]
    assert len(reasons) == 4
    assert reasons[1] == "no JSON object: a list instead"


def test_a_comma_after_an_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"},\n{"text": "b"}\n')
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["b"]
    assert rejected(tmp_path)[0]["reason"] == "a comma after the object; remove it"


def test_a_key_that_occurs_twice_rejects_the_object(tmp_path: Path) -> None:
    lines = [
        '{"text": "a", "text": "b"}',
        '{"text": "c", "meta": {"text": "d"}}',
        '{"name": 1, "name": 2, "text": "the \\"text\\" of \\"text\\""}',
        '{"kept é": 1, "kept \\u00e9": 2, "text": "e"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = str(tmp_path / "a.jsonl")
    table = read(tmp_path, source, keep_columns=["kept é"])
    assert table["text"].to_pylist() == ["c", 'the "text" of "text"']
    assert [(row["row"], row["reason"]) for row in rejected(tmp_path)] == [
        (1, "the key 'text' occurs twice in the object"),
        (4, "the key 'kept é' occurs twice in the object"),
    ]
