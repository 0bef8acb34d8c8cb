"""The audit finds what a model remembers, and nothing in one that has not read the text."""

from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.checksums import read_json
from charlm.cli.audit import describe
from charlm.errors import CharlmError
from charlm.evaluation.audit import PREFIX, SECRET, Audit, audit, extraction, sample_passages
from charlm.evaluation.audit import _exposure as exposure
from charlm.evaluation.audit import _membership as membership
from charlm.model.ngram_model import NgramModel
from charlm.model.store import make_model, save_model
from charlm.model.trained_model import TrainedModel
from charlm.settings import Architecture
from charlm.text.canaries import METADATA_KEY, Canaries, first_words, read_canaries
from charlm.text.tables import write_table
from charlm.text.vocabulary import Vocabulary
from tests.training.small import write_corpus

LETTERS = "abcdefgh ."
VOCABULARY = Vocabulary([*LETTERS, "<end>"], [1] * 11, {"unknown": None, "end_of_document": 10})
CANARIES = Canaries(["bad", "cage", "deaf", "face", "head", "beef"], 3)


def random_texts(seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice([*LETTERS], 150)) for _ in range(30)]


def reader_of(texts: list[str]) -> TrainedModel:
    """Return a model that remembers texts word for word: their 10-grams."""
    tokens = np.concatenate([np.append(VOCABULARY.encode(text), 10) for text in texts])
    return TrainedModel(NgramModel.counted(VOCABULARY, tokens, 10).eval(), VOCABULARY)


def test_passages_are_spread_over_the_documents() -> None:
    texts = random_texts(0)
    passages = sample_passages(texts)
    assert {len(passage) for passage in passages} == {PREFIX + SECRET}
    assert len(passages) == len(set(passages)) == 200
    assert {next(text for text in texts if passage in text) for passage in passages} == set(texts)
    assert sample_passages(["short", ""]) == []
    assert sample_passages([texts[0][: PREFIX + SECRET]]) == [texts[0][: PREFIX + SECRET]]


def test_a_model_that_remembers_gives_its_text_away() -> None:
    read, others = random_texts(0), random_texts(1)
    trained = reader_of(read)
    found = extraction(trained, sample_passages(read)[:16])
    assert found == {"passages": 16, "extracted": 16, "mean_length": SECRET}
    found = extraction(trained, sample_passages(others)[:16])
    assert found["extracted"] == 0
    assert found["mean_length"] < 2

    told_apart = membership(trained, read, others)
    assert told_apart
    assert told_apart["auc"] == 1
    assert told_apart["auc_interval"] == pytest.approx([1, 1])
    chance = membership(trained, random_texts(2), others)
    assert chance
    assert chance["auc_interval"]
    low, high = chance["auc_interval"]
    assert low < 0.5 < high
    assert chance["auc"] == pytest.approx((low + high) / 2, abs=0.03)
    assert membership(trained, read, []) is None


def test_canaries_that_were_read_are_exposed() -> None:
    canaries = list(islice(CANARIES.sentences(), 3))
    read = exposure(reader_of([*random_texts(0), *canaries]), CANARIES)
    assert read["most"] == 10
    assert min(read["bits"]) > 8
    unread = exposure(reader_of(random_texts(0)), CANARIES)
    assert sum(unread["bits"]) / 3 < 5


def test_words_of_the_canaries_are_those_of_the_text() -> None:
    assert first_words(["It is the 3rd cat_dog", "the Émigré"]) == ["the", "cat", "dog", "Émigré"]


def save_small_model(folder: Path, vocabulary: Vocabulary) -> None:
    architecture = Architecture(hidden_size=8, embedding_size=4)
    save_model(
        folder,
        make_model(len(vocabulary), architecture),
        vocabulary=vocabulary,
        architecture=architecture,
        training={},
    )


def test_the_audit_reads_a_corpus_and_a_model(tmp_path: Path) -> None:
    sentences = CANARIES.documents(2)["text"].to_pylist()
    text = "bad beef faced a cage. " * 30
    write_corpus(tmp_path, [text, *sentences], validation=text[4:300])
    table = pq.read_table(tmp_path / "corpus.parquet")
    order = [0, len(table) - 1, *range(1, len(table) - 1)]  # the canaries are the last rows
    metadata = {METADATA_KEY: CANARIES.to_json()}
    table = table.take(pa.array(order)).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "corpus.parquet")
    assert read_canaries(tmp_path / "corpus.parquet") == CANARIES
    save_small_model(tmp_path / "models/small", Vocabulary.load(tmp_path / "vocabulary.json"))
    output = tmp_path / "audit.json"
    record = audit(tmp_path / "models/small", tmp_path, output)
    assert read_json(output, Audit) == record
    assert record["extraction"]["training"]["ngram"]["extracted"] > 150
    assert record["extraction"]["training"]["model"]["extracted"] == 0
    assert record["extraction"]["training"]["ngram"]["passages"] == 200
    assert record["exposure"]
    assert record["exposure"]["canaries"] == 3
    assert record["membership"]
    assert record["membership"]["training_documents"] == 1
    lines = describe(record).splitlines()
    assert lines[0].startswith("training passages continued word for word by the model: 0 of 200")
    assert lines[-1].startswith("exposure of 3 canaries: ")


def test_another_vocabulary_and_a_damaged_corpus_are_one_line(tmp_path: Path) -> None:
    write_corpus(tmp_path, ["abc " * 50], validation="cab")
    other = Vocabulary(["a", "<end>"], [1, 1], {"unknown": None, "end_of_document": 1})
    save_small_model(tmp_path / "models/other", other)
    with pytest.raises(CharlmError, match=r"summary\.json: encoded with another vocabulary"):
        audit(tmp_path / "models/other", tmp_path)

    corpus = tmp_path / "corpus.parquet"
    write_table(corpus, pq.read_table(corpus))
    corpus.write_bytes(corpus.read_bytes().replace(b"abc ", b"abd ", 1))
    with pytest.raises(CharlmError, match=r"corpus\.parquet: is damaged; make it again"):
        audit(tmp_path / "models/other", tmp_path)
