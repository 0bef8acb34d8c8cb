"""The baselines: character n-grams and a compressor.

They read the same symbols of the same documents as the models and are scored in the same way.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.evaluation.compressor import compressed_nats
from charlm.evaluation.evaluate import (
    HELD_OUT,
    document_nats,
    score_record,
    score_table,
)
from charlm.evaluation.witten_bell import witten_bell
from charlm.files import atomic, write_text
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

FIXED_ORDER = 5
HIGHEST_ORDER = 10


def baseline(
    vocabulary: str | Path,
    tokens: str | Path,
    baselines: str | Path,
    document_scores: str | Path,
) -> None:
    """Score n-grams and a compressor on the held-out splits.

    Args:
        vocabulary: The file `vocabulary.json`.
        tokens: The folder of encoded splits.
        baselines: The JSON file to write: `ngram` is the 5-gram, `ngram_chosen` the n-gram of the
            order that is best on the validation text (where there is any), `xz` the compressor.
        document_scores: The Parquet file to write: baseline, doc_id, split, characters,
            bits_per_character.
    """
    symbols = Vocabulary.load(vocabulary)
    train = TokenSplit.load(tokens, "train")
    held_out = {name: TokenSplit.load(tokens, name) for name in HELD_OUT}
    orders = _ngram_nats(symbols, train, held_out)
    systems: dict[str, tuple[dict[str, Any], _Nats]] = {
        "ngram": ({"order": FIXED_ORDER}, orders[FIXED_ORDER])
    }
    if held_out["validation"].documents["characters"].any():
        best = min(orders, key=lambda order: orders[order]["validation"].sum())
        systems["ngram_chosen"] = ({"order": best}, orders[best])
    systems["xz"] = ({}, _compressor_nats(symbols, train, held_out))

    tables = []
    for system, (record, nats) in systems.items():
        for name, split in held_out.items():
            record[name] = score_record(nats[name], split)
            if record[name]:
                bits = record[name]["bits_per_character"]
                log.info("%s: %s %.4f bits per character", name, system, bits)
            table = score_table(nats[name], split, name)
            name_of_each = pa.array([system] * len(table), pa.string())
            tables.append(table.add_column(0, "baseline", name_of_each))
    with atomic(document_scores) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    records = {system: record for system, (record, _) in systems.items()}
    write_text(baselines, json.dumps(records, indent=1) + "\n")


_Nats = dict[str, npt.NDArray[np.float64]]
"""The nats of each document, by split."""


def _ngram_nats(
    symbols: Vocabulary, train: TokenSplit, held_out: dict[str, TokenSplit]
) -> dict[int, _Nats]:
    """Return what n-grams cost, by order: up to that after which the validation text costs more."""
    # A stream that holds ends of documents lets the n-gram see and predict them, too.
    ends = int(symbols.end_of_document is not None and not train.one_stream)
    texts = {name: split.texts for name, split in held_out.items()}
    orders: dict[int, _Nats] = {}
    lowest = np.inf
    for order, costs in witten_bell(train.texts, texts, len(symbols) - ends, len(symbols)):
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
    symbols: Vocabulary, train: TokenSplit, held_out: dict[str, TokenSplit]
) -> _Nats:
    """Return what LZMA needs for each document, after all those before it in the splits' order."""
    splits = {name: split.by_document(split.tokens) for name, split in held_out.items()}
    learned = train.by_document(train.tokens)
    nats = compressed_nats(learned, [text for texts in splits.values() for text in texts])
    bounds = np.cumsum([len(texts) for texts in splits.values()])[:-1]
    return {
        name: part + held_out[name].documents["unknown_characters"] * symbols.unknown_nats
        for name, part in zip(splits, np.split(nats, bounds), strict=True)
    }
