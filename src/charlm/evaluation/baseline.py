"""Score the baselines: character n-grams and compressors.

Baselines learn from and are scored on the same symbols of the same documents as the models. The
n-gram models learn from the training text only; the compressors go on learning as they read.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NotRequired

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from charlm.checksums import write_json
from charlm.evaluation.compressors import ppmd_nats, to_bytes, xz_nats
from charlm.evaluation.ngrams import Smoothing, ngram_costs
from charlm.evaluation.scores import (
    HELD_OUT,
    HeldOut,
    Scores,
    document_nats,
    document_score_table,
    score_of_split,
)
from charlm.text.tables import write_table
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

NGRAM_ORDER = 5
"""The order of the baseline `ngram`."""

DEFAULT_ORDER = 6
"""The order of Kneser-Ney and PPMd if there is no validation text to choose it by."""

PPMD_ORDERS = range(4, 11)
HIGHEST_NGRAM_ORDER = 10


class BaselineScores(Scores):
    """The scores of a baseline in `baselines.json`."""

    order: NotRequired[int]
    """The order of an n-gram model, or the longest context of PPMd."""


def baseline(
    vocabulary: str | Path,
    tokens: str | Path,
    baselines: str | Path,
    document_scores: str | Path,
) -> None:
    """Score n-gram models and compressors on the held-out splits.

    Args:
        vocabulary: The file `vocabulary.json`.
        tokens: The folder of encoded splits.
        baselines: The JSON file to write. `ngram` is the 5-gram with Witten-Bell smoothing,
            `kneser_ney` an n-gram with modified Kneser-Ney smoothing, and `ppmd` and `xz` are
            compressors. `kneser_ney` and `ppmd` have the orders that are best on the validation
            text, or 6 if there is none.
        document_scores: The Parquet file to write: baseline, doc_id, split, characters,
            bits_per_character.
    """
    symbols = Vocabulary.load(vocabulary)
    train = TokenSplit.load(tokens, "train", symbols)
    held_out = {name: TokenSplit.load(tokens, name, symbols) for name in HELD_OUT}
    orders: dict[str, int] = {"ngram": NGRAM_ORDER}
    costs, orders["kneser_ney"] = _ngram_nats(symbols, train, held_out)
    compressor_costs, orders["ppmd"] = _compressor_nats(symbols, train, held_out)
    costs |= compressor_costs

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
    write_table(document_scores, pa.concat_tables(tables))
    write_json(baselines, records)


_Nats = dict[HeldOut, npt.NDArray[np.float64]]
"""The nats of each document, by split."""


def _ngram_nats(
    symbols: Vocabulary, train: TokenSplit, held_out: Mapping[HeldOut, TokenSplit]
) -> tuple[dict[str, _Nats], int]:
    """Return the costs of the documents under `ngram` and `kneser_ney`, and the latter's order."""
    # In a stream with ends of documents, the n-gram models see and predict them as well.
    unpredicted = int(symbols.end_of_document is not None and not train.one_stream)
    models = ngram_costs(
        train.texts,
        {name: split.texts for name, split in held_out.items()},
        alphabet_size=len(symbols) - unpredicted,
        boundary=len(symbols),
    )
    by_smoothing: Iterator[tuple[int, dict[Smoothing, _Nats]]] = (
        (
            order,
            {
                smoothing: {
                    name: document_nats(texts[name], split, symbols.unknown_nats)
                    for name, split in held_out.items()
                }
                for smoothing, texts in costs.items()
            },
        )
        for order, costs in islice(models, HIGHEST_NGRAM_ORDER)
    )
    low_orders = dict(islice(by_smoothing, NGRAM_ORDER))
    kneser_ney = {order: nats["kneser_ney"] for order, nats in low_orders.items()}
    higher_orders = ((order, nats["kneser_ney"]) for order, nats in by_smoothing)
    order = _choose_order(kneser_ney, higher_orders, held_out)
    ngram = low_orders[NGRAM_ORDER]["witten_bell"]
    return {"ngram": ngram, "kneser_ney": kneser_ney[order]}, order


def _compressor_nats(
    symbols: Vocabulary, train: TokenSplit, held_out: Mapping[HeldOut, TokenSplit]
) -> tuple[dict[str, _Nats], int]:
    """Return the costs of the documents under `ppmd` and `xz`, and the order of `ppmd`.

    Each document is compressed after all documents before it.
    """
    training, *scored = (
        [to_bytes(text, symbols) for text in split.by_document(split.tokens)]
        for split in (train, *held_out.values())
    )
    documents = [text for texts in scored for text in texts]
    bounds = np.cumsum([len(texts) for texts in scored])[:-1]

    def by_split(nats: npt.NDArray[np.float64]) -> _Nats:
        return {
            name: part + split.documents["unknown_characters"] * symbols.unknown_nats
            for (name, split), part in zip(held_out.items(), np.split(nats, bounds), strict=True)
        }

    ppmd: dict[int, _Nats] = {}
    models = ((order, by_split(ppmd_nats(training, documents, order))) for order in PPMD_ORDERS)
    order = _choose_order(ppmd, models, held_out)
    return {"ppmd": ppmd[order], "xz": by_split(xz_nats(training, documents))}, order


def _choose_order(
    tried: dict[int, _Nats],
    higher_orders: Iterable[tuple[int, _Nats]],
    held_out: Mapping[HeldOut, TokenSplit],
) -> int:
    """Return the order that is best on the validation text, or 6 if there is none.

    Args:
        tried: The costs by order. Higher orders are added, up to the first one that is no better
            than a lower one.
        higher_orders: Higher orders and their costs, ascending.
        held_out: The encoded splits.
    """
    has_validation = held_out["validation"].documents["characters"].any()

    def cost(order: int) -> float:
        if has_validation:
            return float(tried[order]["validation"].sum())
        return abs(order - DEFAULT_ORDER)

    for order, nats in higher_orders:
        tried[order] = nats
        if min(tried, key=cost) < order:
            break
    return min(tried, key=cost)
