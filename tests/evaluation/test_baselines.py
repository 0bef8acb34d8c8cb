"""The baselines of a corpus as a whole."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.evaluation.baselines import baseline
from charlm.text.tokens import encode
from charlm.text.vocabulary import build_vocabulary


def test_an_empty_split_beside_one_that_is_not(tmp_path: Path) -> None:
    texts = ["a text to learn from", "and another one", "and one to validate on"]
    rows = {"doc_id": [0, 1, 2], "split": ["train", "train", "validation"], "text": texts}
    pq.write_table(pa.table(rows), tmp_path / "corpus.parquet")
    vocabulary, tokens = tmp_path / "vocabulary.json", tmp_path / "tokens"
    build_vocabulary(tmp_path / "corpus.parquet", vocabulary)
    encode(tmp_path / "corpus.parquet", vocabulary, tokens)
    found, scores = tmp_path / "baselines.json", tmp_path / "scores.parquet"
    baseline(vocabulary, tokens, found, scores, one_stream=False)
    record = json.loads(found.read_text())
    assert record["ngram"]["validation"]["characters"] == len(texts[2])
    assert record["ngram"]["test"] is None
    assert set(pq.read_table(scores)["split"].to_pylist()) == {"validation"}
