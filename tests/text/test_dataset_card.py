"""The data set holds the corpus, and its metadata describe the files."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.text.canaries import METADATA_KEY, Canaries
from charlm.text.dataset_card import write_dataset_card
from charlm.text.tables import write_table
from tests.text.corpus import write_corpus

ROWS = [
    (0, "train", "naïve 東"),
    (2, "train", "a\nb"),
    (3, "test", "x"),
    (4, "train", "cut "),
    (4, "train", "in two"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path, ROWS)
    write_dataset_card(
        tmp_path / "corpus.parquet",
        tmp_path / "dataset",
        name="tiny",
        license="mit",
        languages=["en", "ja"],
        description="Small texts.\n",
    )
    return tmp_path / "dataset"


def test_the_files_hold_the_splits(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "croissant.json",
        "test.parquet",
        "train.parquet",
        "training-content.md",
    ]
    train = pq.read_table(folder / "train.parquet").to_pydict()
    assert train == {
        "doc_id": [0, 2, 4, 4],
        "text": ["naïve 東", "a\nb", "cut ", "in two"],
    }


def test_the_card_counts_documents_and_code_points(folder: Path) -> None:
    _, header, text = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    stated = yaml.safe_load(header)
    assert stated["license"] == "mit"
    assert stated["language"] == ["en", "ja"]
    [config] = stated["configs"]
    assert {each["split"]: each["path"] for each in config["data_files"]} == {
        "train": "train.parquet",
        "test": "test.parquet",
    }
    assert "# tiny\n\nSmall texts.\n" in text
    assert "duplicates" not in text  # whether they were removed depends on the rules
    assert "| train | 3 | 20 |\n| test | 1 | 1 |\n" in text
    summary = (folder / "training-content.md").read_text("utf-8")
    assert "training text: 20 characters in 3 documents\n- Languages: en, ja\n" in summary
    assert "- Synthetic text: none\n- Other sources: Small texts.\n" in summary


def test_croissant_describes_the_files(folder: Path) -> None:
    metadata = json.loads((folder / "croissant.json").read_text("utf-8"))
    for file in metadata["distribution"]:
        assert file["sha256"] == sha256_of(folder / file["contentUrl"])
    names = [each["name"] for each in metadata["distribution"]]
    for records in metadata["recordSet"]:
        columns = pq.read_schema(folder / f"{records['name']}.parquet").names
        assert [field["source"]["extract"]["column"] for field in records["field"]] == columns
        assert {field["source"]["fileObject"]["@id"] for field in records["field"]} <= {*names}


def test_mlcroissant_reads_the_records(folder: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    records = list(dataset.records("train"))
    assert [record["train/doc_id"] for record in records] == [0, 2, 4, 4]
    assert records[0]["train/text"] == "naïve 東".encode()


def test_canaries_are_left_out(tmp_path: Path) -> None:
    write_corpus(tmp_path, ROWS)
    table = pq.read_table(tmp_path / "corpus.parquet")
    canaries = Canaries(["aaa", "bbb"], 2)
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: canaries.to_json()}),
        tmp_path / "corpus.parquet",
    )
    write_dataset_card(tmp_path / "corpus.parquet", tmp_path / "dataset", name="tiny")
    assert pq.read_table(tmp_path / "dataset/train.parquet")["doc_id"].to_pylist() == [0, 2]
    summary = (tmp_path / "dataset/training-content.md").read_text("utf-8")
    assert "- Synthetic text: 2 random sentences" in summary
    assert "license" not in (tmp_path / "dataset/README.md").read_text()


def test_a_damaged_corpus_is_one_line(tmp_path: Path) -> None:
    write_corpus(tmp_path, ROWS)
    corpus = tmp_path / "corpus.parquet"
    write_table(corpus, pq.read_table(corpus))
    corpus.write_bytes(corpus.read_bytes().replace(b"in two", b"in ten", 1))
    with pytest.raises(CharlmError, match=r"corpus\.parquet: is damaged; make it again"):
        write_dataset_card(corpus, tmp_path / "dataset", name="tiny")
