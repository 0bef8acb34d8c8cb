"""Score the baselines: character n-grams and a compressor.

Baselines learn from and are scored on the same symbols of the same documents as the models.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.evaluation.compressor import compressed_nats
from charlm.evaluation.scores import (
    HELD_OUT,
    HeldOut,
    Score,
    by_document,
    document_nats,
    document_score_table,
    score_of_split,
    split_texts,
)
from charlm.evaluation.witten_bell import witten_bell
from charlm.files import atomic, write_text
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

FIXED_ORDER = 5
HIGHEST_ORDER = 10


class BaselineScores(TypedDict):
    """The scores of a baseline in `baselines.json`; that of an empty split is None."""

    order: NotRequired[int]
    """The order of an n-gram model."""
    validation: Score | None
    test: Score | None


def baseline(
    vocabulary: str | Path,
    tokens: str | Path,
    baselines: str | Path,
    document_scores: str | Path,
    *,
    one_stream: bool,
) -> None:
    """Score n-gram models and a compressor on the held-out splits.

    Args:
        vocabulary: The file `vocabulary.json`.
        tokens: The folder of encoded splits.
        baselines: The JSON file to write. `ngram` is the 5-gram, `ngram_chosen` the n-gram of the
            order that is best on the validation text (if there is any), and `xz` the compressor.
        document_scores: The Parquet file to write: baseline, doc_id, split, characters,
            bits_per_character.
        one_stream: Read a split as one stream, as is right for contiguous splits; otherwise each
            document from its own beginning.
    """
    symbols = Vocabulary.load(vocabulary)
    train = TokenSplit.load(tokens, "train")
    held_out = {name: TokenSplit.load(tokens, name) for name in HELD_OUT}
    by_order = _ngram_nats(symbols, train, held_out, one_stream)
    orders = {"ngram": FIXED_ORDER}
    if held_out["validation"].documents["characters"].any():
        orders["ngram_chosen"] = min(by_order, key=lambda n: by_order[n]["validation"].sum())
    costs = {system: by_order[order] for system, order in orders.items()}
    costs["xz"] = _compressor_nats(symbols, train, held_out)

    records: dict[str, BaselineScores] = {}
    tables = []
    for system, nats in costs.items():
        scores = {name: score_of_split(nats[name], split) for name, split in held_out.items()}
        records[system] = {"validation": scores["validation"], "test": scores["test"]}
        if system in orders:
            records[system] = {"order": orders[system], **records[system]}
        for name, split in held_out.items():
            if score := scores[name]:
                bits = score["bits_per_character"]
                log.info("%s: %s %.4f bits per character", name, system, bits)
            table = document_score_table(nats[name], split, name)
            system_column = pa.array([system] * len(table), pa.string())
            tables.append(table.add_column(0, "baseline", system_column))
    with atomic(document_scores) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    write_text(baselines, json.dumps(records, indent=1) + "\n")


_Nats = dict[HeldOut, npt.NDArray[np.float64]]
"""The nats of each document, by split."""


def _ngram_nats(
    symbols: Vocabulary, train: TokenSplit, held_out: Mapping[HeldOut, TokenSplit], one_stream: bool
) -> dict[int, _Nats]:
    """Return the cost of the documents under n-gram models of order 1, 2, 3 …, by order.

    The last order is the first one, from `FIXED_ORDER` on, that does not improve on the validation
    text.
    """
    # In a stream with ends of documents, the n-gram model sees and predicts them as well.
    unpredicted = int(symbols.end_of_document is not None and not one_stream)
    texts = {name: split_texts(split, one_stream) for name, split in held_out.items()}
    orders: dict[int, _Nats] = {}
    lowest = np.inf
    for order, costs in witten_bell(
        split_texts(train, one_stream),
        texts,
        alphabet_size=len(symbols) - unpredicted,
        boundary=len(symbols),
    ):
        orders[order] = {
            name: document_nats(costs[name], split, symbols.unknown_nats)
            for name, split in held_out.items()
        }
        validation = orders[order]["validation"].sum()
        if order == HIGHEST_ORDER or (order >= FIXED_ORDER and validation >= lowest):
            break
        lowest = min(lowest, validation)
    return orders


def _compressor_nats(
    symbols: Vocabulary, train: TokenSplit, held_out: Mapping[HeldOut, TokenSplit]
) -> _Nats:
    """Return the cost of each document, compressed by LZMA after all documents before it."""
    splits = {name: by_document([split.tokens], split) for name, split in held_out.items()}
    nats = compressed_nats(
        by_document([train.tokens], train), [text for texts in splits.values() for text in texts]
    )
    bounds = np.cumsum([len(texts) for texts in splits.values()])[:-1]
    return {
        name: part + held_out[name].documents["unknown_characters"] * symbols.unknown_nats
        for name, part in zip(splits, np.split(nats, bounds), strict=True)
    }
