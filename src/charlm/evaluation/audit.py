"""Audit: how much a model gives away about its training text."""

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from charlm.checksums import write_json
from charlm.evaluation.intervals import RESAMPLES, interval
from charlm.evaluation.spacing import evenly_spaced
from charlm.model.ngram_model import NgramModel
from charlm.model.sampling import SampleRequest
from charlm.model.scoring import predictions
from charlm.model.trained_model import TrainedModel, load
from charlm.text.canaries import Canaries, read_canaries
from charlm.text.tables import read_table
from charlm.text.tokens import TokenSplit

PASSAGES = 200
"""Passages of the training text, and of held-out text, that are attacked."""

PREFIX = 50
"""Characters of a passage that the attacker knows."""

SECRET = 50
"""Characters that follow, which the attacker wants."""

ORDER = 10
"""Order of the n-gram model to compare with."""

DOCUMENTS = 500
"""Documents of each kind in the membership test."""

BEGINNING = 1_000
"""Characters of a document that the membership test reads."""

REFERENCES = 1_023
"""Random sentences that a canary is compared with, which bound its exposure at ten bits."""


class Extraction(TypedDict):
    """Passages that a model continues word for word."""

    passages: int
    extracted: int
    """Number of passages whose `SECRET` characters the model all writes."""
    mean_length: float
    """Mean number of the first of these characters that it writes."""


class Membership(TypedDict):
    """How well the scores of documents tell training text from held-out text."""

    training_documents: int
    held_out_documents: int
    auc: float
    """Probability that a training document scores better than a held-out one; 0.5 is chance."""
    auc_interval: list[float] | None
    """95 % interval, by the bootstrap over documents."""


class Exposure(TypedDict):
    """How much better the model likes the canaries than other random sentences."""

    canaries: int
    bits: list[float]
    """Exposure of each: log2 of (1 + the number of references) / its rank among them."""
    most: float
    """The highest exposure that can be measured."""


class Audit(TypedDict):
    """The content of `audit.json`, besides its checksum."""

    prefix: int
    secret: int
    extraction: dict[str, dict[str, Extraction]]
    """Of `training` and `held_out` passages, by the `model` and by the `ngram` model."""
    membership: Membership | None
    """None without held-out documents."""
    exposure: Exposure | None
    """None without canaries."""


def audit(
    model_folder: str | Path,
    results: str | Path,
    output: str | Path | None = None,
    *,
    device: str = "cpu",
) -> Audit:
    """Measure what can be learned about the training text from a model.

    - Extraction: give the model `PREFIX` characters of a passage and let it continue with the
      likeliest characters (Carlini et al. 2023, arXiv:2202.07646).
    - Membership: compare the scores of training and held-out documents (Yeom et al. 2018,
      arXiv:1709.01604).
    - Exposure: rank the canaries among random sentences (Carlini et al. 2019, arXiv:1802.08232).

    Args:
        model_folder: The folder of the trained model.
        results: The folder of its corpus, with `corpus.parquet` and `tokens/`.
        output: The JSON file to write, if any.
        device: Where to compute; see `charlm.load`.

    Raises:
        CharlmError: A file is missing or damaged, or the corpus has another vocabulary.
    """
    trained = load(model_folder, device=device)
    corpus = Path(results) / "corpus.parquet"
    canaries = read_canaries(corpus)
    texts = _texts_by_kind(corpus, canaries)
    folder = Path(results) / "tokens"
    train = TokenSplit.load(folder, "train", trained.vocabulary)
    ngram = TrainedModel(
        NgramModel.counted(trained.vocabulary, np.asarray(train.tokens), ORDER).eval(),
        trained.vocabulary,
    )
    passages = {kind: sample_passages(found) for kind, found in texts.items()}
    record: Audit = {
        "prefix": PREFIX,
        "secret": SECRET,
        "extraction": {
            kind: {
                "model": extraction(trained, passages[kind]),
                "ngram": extraction(ngram, passages[kind]),
            }
            for kind in passages
        },
        "membership": _membership(trained, texts["training"], texts["held_out"]),
        "exposure": _exposure(trained, canaries) if canaries else None,
    }
    if output:
        write_json(output, record)
    return record


def _texts_by_kind(corpus: Path, canaries: Canaries | None) -> dict[str, list[str]]:
    """Return the documents by kind, `training` and `held_out`, without the canaries."""
    rows = read_table(corpus, ["split", "text"])
    if canaries:  # the last rows
        rows = rows.slice(0, len(rows) - canaries.number)
    found: dict[str, list[str]] = {"training": [], "held_out": []}
    for split, text in zip(rows["split"].to_pylist(), rows["text"].to_pylist(), strict=True):
        found["training" if split == "train" else "held_out"].append(text)
    return found


def sample_passages(texts: Sequence[str]) -> list[str]:
    """Return at most `PASSAGES` passages at random places, of `PREFIX` + `SECRET` characters.

    All places are equally likely, so long documents give more passages.
    """
    length = PREFIX + SECRET
    places = np.cumsum([max(0, len(text) - length + 1) for text in texts], dtype=np.int64)
    if not len(places) or not places[-1]:
        return []
    random = np.random.default_rng(0)
    chosen = random.choice(places[-1], min(PASSAGES, int(places[-1])), replace=False)
    passages = []
    for place in np.sort(chosen):
        document = int(np.searchsorted(places, place, side="right"))
        start = int(place - (places[document - 1] if document else 0))
        passages.append(texts[document][start : start + length])
    return passages


def extraction(trained: TrainedModel, passages: Sequence[str]) -> Extraction:
    """Return how many passages a model continues word for word."""
    requests = [
        SampleRequest(passage[:PREFIX], length=SECRET, temperature=0, on_unknown="replace")
        for passage in passages
    ]
    lengths = [
        _shared(written.text, passage[PREFIX:])
        for written, passage in zip(trained.draw(requests), passages, strict=True)
    ]
    return {
        "passages": len(passages),
        "extracted": sum(length == SECRET for length in lengths),
        "mean_length": float(np.mean(lengths)) if lengths else 0.0,
    }


def _shared(written: str, secret: str) -> int:
    """Return the number of first characters that two texts share.

    >>> _shared("abcd", "abx")
    2
    """
    pairs = enumerate(zip(written, secret, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(written), len(secret)))


def _membership(
    trained: TrainedModel, training: Sequence[str], held_out: Sequence[str]
) -> Membership | None:
    """Return how well scores tell training documents from held-out ones."""
    chosen = [
        evenly_spaced([text for text in texts if text], DOCUMENTS) for texts in (training, held_out)
    ]
    if not all(chosen):
        return None
    members, others = (_nats(trained, [text[:BEGINNING] for text in texts]) for texts in chosen)
    better = (members[:, None] < others) + 0.5 * (members[:, None] == others)
    resampled = None
    if min(better.shape) > 1:
        random = np.random.default_rng(0)
        weights = [random.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in better.shape]
        # Not a matrix product, whose rounding may depend on the number of threads.
        resampled = np.array(
            [(better * a[:, None] * b).sum() for a, b in zip(*weights, strict=True)]
        )
    return {
        "training_documents": len(members),
        "held_out_documents": len(others),
        "auc": float(better.mean()),
        "auc_interval": interval(resampled),
    }


def _exposure(trained: TrainedModel, canaries: Canaries) -> Exposure:
    """Return the exposure of each canary."""
    sentences = list(islice(canaries.sentences(), canaries.number + REFERENCES))
    # Sums, as an attacker compares whole sentences.
    nats = _nats(trained, sentences) * [len(sentence) for sentence in sentences]
    own, references = nats[: canaries.number], nats[canaries.number :]
    ranks = 1 + (references < own[:, None]).sum(1)
    return {
        "canaries": canaries.number,
        "bits": [math.log2((REFERENCES + 1) / rank) for rank in ranks],
        "most": math.log2(REFERENCES + 1),
    }


def _nats(trained: TrainedModel, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the nats per character of each text, shape (texts,).

    What unknown characters cost beyond the unknown symbol is left out.
    """
    encoded = [trained.vocabulary.encode(text) for text in texts]
    found = predictions(trained.model, encoded, trained.vocabulary.end_of_document)
    return np.array(
        [
            each["nats"].sum(dtype=np.float64) / len(text)
            for each, text in zip(found, texts, strict=True)
        ]
    )
