"""`charlm init` writes a configuration that reads the right column of a file."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.cli import main
from charlm.pipeline.config import load_file, resolve
from charlm.text.sources.ingest import ingest

BODIES = ["A longer body of one post, with words.", "Another one, with \u00e9 and more words."]
TITLES = ["Hello", "Second"]
CSV = "id;title;body\n" + "".join(f'{n};{TITLES[n]};"{BODIES[n]}"\n' for n in range(2))
ROWS = [{"id": n, "title": TITLES[n], "body": BODIES[n]} for n in range(2)]


def read(tmp_path: Path, file: Path, *options: str) -> list[str]:
    """Write a configuration for a file, and return the texts that it reads."""
    output = tmp_path / "my.yaml"
    assert main(["init", str(file), "--output", str(output), *options]) == 0
    corpus = resolve(load_file(output))["corpus"]
    assert (corpus.pop("name"), corpus.pop("canaries")) == ("my-posts", 0)
    documents = tmp_path / "documents.parquet"
    ingest(documents=documents, rejected=tmp_path / "rejected.parquet", **corpus)
    return list(pq.read_table(documents)["text"].to_pylist())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("my posts.csv", CSV.encode()),
        ("my posts.csv", CSV.encode("cp1252")),
        ("my posts.csv", CSV.encode("utf-16")),
        ("my posts.tsv", CSV.replace(";", "\t").encode()),
        ("my posts.csv.gz", gzip.compress(CSV.replace(";", ",").encode())),
        ("my posts.csv", CSV.replace("\n", "\r").encode()),
        ("my posts.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode()),
    ],
)
def test_the_column_with_the_prose_is_chosen(
    tmp_path: Path, name: str, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path, tmp_path / name) == BODIES
    characters = sum(map(len, BODIES))
    said = capsys.readouterr().out
    assert f"column 'body', {characters} characters in 2 rows, mostly Latin letters" in said
    assert "little text" in said


def test_a_line_separator_does_not_end_a_json_line(tmp_path: Path) -> None:
    text = "One line,\u2028another line."
    (tmp_path / "my-posts.jsonl").write_text(json.dumps({"body": text}, ensure_ascii=False))
    assert read(tmp_path, tmp_path / "my-posts.jsonl") == [text]


def test_a_column_of_a_parquet_file_can_be_named(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "my_posts.parquet")
    (tmp_path / "my_posts.parquet").rename(tmp_path / "my+posts.parquet")
    assert read(tmp_path, tmp_path / "my+posts.parquet", "--column", "title") == TITLES


def test_plain_text_has_no_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my-posts.txt").write_text("Слово за словом, и ещё одно.\n" * 4)
    (text,) = read(tmp_path, tmp_path / "my-posts.txt")
    assert text.startswith("Слово")
    assert "text, 116 characters, mostly Cyrillic letters" in capsys.readouterr().out


def test_the_amount_of_a_long_file_is_estimated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my-posts.txt").write_text("one more line of text\n" * 300_000)
    assert main(["init", str(tmp_path / "my-posts.txt"), "--output", str(tmp_path / "a.yaml")]) == 0
    assert "text, about 6,600,000 characters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("none.csv", None, [], "none.csv: No such file or directory; name another"),
        ("a.csv", "id,n\n1,2\n", ["--column", "m"], "no column 'm'; choose one of id, n"),
        ("a.csv", "", [], "a.csv: no text in it; give a file with text"),
        ("a.jsonl", "{\n", [], "a.jsonl: no text in it; give a file with text"),
        ("a.docx", "x", [], "unknown file ending; set corpus.format"),
    ],
)
def test_a_file_without_text_is_an_error_in_one_line(
    tmp_path: Path,
    name: str,
    data: str | None,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if data is not None:
        (tmp_path / name).write_text(data)
    assert main(["init", str(tmp_path / name), "--output", str(tmp_path / "o.yaml"), *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "o.yaml").exists()


def test_a_configuration_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text("mine")
    (tmp_path / "a.txt").write_text("text")
    assert main(["init", str(tmp_path / "a.txt"), "--output", str(tmp_path / "my.yaml")]) == 1
    assert "my.yaml: exists already; remove it" in capsys.readouterr().err
    assert (tmp_path / "my.yaml").read_text() == "mine"
