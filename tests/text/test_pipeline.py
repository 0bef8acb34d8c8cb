"""From a file to tokens, with every format."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.errors import CharlmError
from charlm.settings import SplitSettings
from charlm.text.cleaning.plain_text import write_plain_text
from charlm.text.sources.ingest import ingest
from tests.text.corpus import build, clean_documents, encoded

TEXTS = ["one <b>wo</b>rd", "two\r\nlines, and a comma", 'three "quotes"', "四 \U0001f600 ünï"]


LABELS = ["1", "0", "1", "0"]


def write(path: Path, kind: str) -> None:
    """Write the texts in a format."""
    table = pd.DataFrame({"label": LABELS, "text": TEXTS})
    if kind in ("csv", "tsv"):
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    elif kind == "jsonl":
        lines = [json.dumps(record) for record in table.to_dict("records")]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "parquet":
        table.to_parquet(path)


def run_ingest(folder: Path, source: str, keep_columns: Sequence[str] = ()) -> pa.Table:
    """Ingest a source into a folder and return the documents."""
    documents, rejected = folder / "documents.parquet", folder / "rejected.parquet"
    ingest(source, documents, rejected, keep_columns=keep_columns)
    return pq.read_table(folder / "documents.parquet")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_table_gives_the_same_documents(tmp_path: Path, kind: str) -> None:
    write(tmp_path / f"a.{kind}", kind)
    table = run_ingest(tmp_path, str(tmp_path / f"a.{kind}"), keep_columns=["label"])
    assert table.schema.names == ["doc_id", "text", "label"]
    assert table["doc_id"].to_pylist() == [0, 1, 2, 3]
    assert table["text"].to_pylist() == TEXTS
    assert table["label"].to_pylist() == LABELS


def test_plain_text_is_one_document_per_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first\n", encoding="utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wb") as file:
        file.write("sécond".encode())
    table = run_ingest(tmp_path, str(tmp_path / "*.txt*"))
    assert table["text"].to_pylist() == ["first\n", "sécond"]


def test_the_table_of_documents_locates_their_tokens(tmp_path: Path) -> None:
    texts = [f"document {number} é" for number in range(200)]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "a.csv", index=False)
    run_ingest(tmp_path, str(tmp_path / "a.csv"))
    clean_documents(tmp_path)
    vocabulary = build(tmp_path)
    found = {}
    for split in encoded(tmp_path).values():
        assert split.tokens.dtype == np.uint8
        assert len(split.documents["doc_id"]) > 0
        for doc_id, start, tokens in zip(
            *(split.documents[key] for key in ("doc_id", "start", "tokens")), strict=True
        ):
            found[doc_id] = vocabulary.decode(split.tokens[start : start + tokens])
            assert split.tokens[start + tokens] == vocabulary.end_of_document
    assert [found[number] for number in range(200)] == texts
    write_plain_text(tmp_path / "corpus.parquet", tmp_path / "corpus.txt", separator="\n--\n")
    assert (tmp_path / "corpus.txt").read_text(encoding="utf-8") == "\n--\n".join(texts)


def test_contiguous_split_cuts_tinyshakespeare_sized_text_as_nanogpt_does(tmp_path: Path) -> None:
    documents = pa.table({"doc_id": [0], "text": ["x" * 1_115_394]})
    pq.write_table(documents, tmp_path / "documents.parquet")
    splits = SplitSettings(method="contiguous", validation=0.1, test=0.0)
    clean_documents(tmp_path, profile="none", splits=splits)
    table = pq.read_table(tmp_path / "corpus.parquet")
    assert table["doc_id"].to_pylist() == [0, 0]
    assert table["split"].to_pylist() == ["train", "validation"]
    assert table["continues"].to_pylist() == [True, False]
    assert [len(text) for text in table["text"].to_pylist()] == [1_003_854, 111_540]
    write_plain_text(tmp_path / "corpus.parquet", tmp_path / "corpus.txt", separator="\n--\n")
    assert (tmp_path / "corpus.txt").read_text() == "x" * 1_115_394


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        ("", "it is empty"),
        ("text\n", "it has no records"),
        ("txet,label\na,1\n", "no column 'text'; the columns are 'txet', 'label'; did you mean"),
        ("text,label\n,1\nNaN,2\n", "'text' is empty or missing in all 2 records"),
    ],
)
def test_basic_bad_input_is_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.csv").write_text(content)
    with pytest.raises(CharlmError, match=message) as caught:
        run_ingest(tmp_path, str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "documents.parquet").exists()
