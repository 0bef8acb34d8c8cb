"""The baselines: a character n-gram with Witten-Bell smoothing, and a compressor.

They read the same symbols of the same documents as the models and are scored in the same way.
"""

import json
import logging
import lzma
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.evaluation.scoring import HELD_OUT, document_nats, score_record, split_texts
from charlm.files import write_text
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

Symbols = npt.NDArray[np.int64]


def baseline(
    vocabulary: str | Path,
    tokens: str | Path,
    baselines: str | Path,
    *,
    one_stream: bool,
    order: int = 5,
) -> None:
    """Score an n-gram and a compressor on the held-out splits and write `baselines.json`.

    Args:
        vocabulary: The file `vocabulary.json`.
        tokens: The folder of encoded splits.
        baselines: The JSON file to write.
        one_stream: Read a split as one stream, as a contiguous split is; else each document from
            its own beginning.
        order: Length n of the n-grams: n - 1 symbols predict the next.
    """
    symbols = Vocabulary.load(vocabulary)
    train = TokenSplit.load(tokens, "train")
    held_out = {name: TokenSplit.load(tokens, name) for name in HELD_OUT}
    texts = {name: split_texts(split, one_stream) for name, split in held_out.items()}
    learned = split_texts(train, one_stream)
    # A stream that holds ends of documents lets the n-gram see and predict them, too.
    ends = int(symbols.end_of_document is not None and not one_stream)

    costs = witten_bell(learned, texts, len(symbols) - ends, len(symbols), order)
    ngram: dict[str, Any] = {"order": order}
    xz: dict[str, Any] = {}
    compressed = _compressed_nats(learned)
    for name, split in held_out.items():
        ngram[name] = score_record(document_nats(costs[name], split, symbols.unknown_nats), split)
        more = _compressed_nats([*learned, *texts[name]]) - compressed
        unknown = split.documents["unknown_characters"].sum() * symbols.unknown_nats
        xz[name] = score_record(np.array([more, unknown]), split)
        if ngram[name]:
            bits = [round(score[name]["bits_per_character"], 4) for score in (ngram, xz)]
            log.info("%s: %d-gram %s, xz %s bits per character", name, order, *bits)
    write_text(baselines, json.dumps({"ngram": ngram, "xz": xz}, indent=1) + "\n")


def witten_bell(
    learned: Sequence[npt.NDArray[Any]],
    scored: dict[str, list[npt.NDArray[Any]]],
    alphabet: int,
    boundary: int,
    order: int,
) -> dict[str, list[npt.NDArray[np.float32]]]:
    """Return the nats that each symbol of the scored texts costs an n-gram model.

    Witten-Bell smoothing (Witten & Bell 1991, method C): with c(h w) the count of symbol w after
    history h, and T(h) the number of distinct symbols seen after it,

        p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

    where h' is h without its oldest symbol, and below the empty history all symbols are alike.

    Args:
        learned: Texts to count in, arrays of symbols.
        scored: Lists of texts to score, by name.
        alphabet: Number of symbols that can be predicted.
        boundary: A symbol that no text holds; it stands before the beginning of each text.
        order: Length n of the n-grams.
    """
    groups = [list(learned), *scored.values()]
    padding = np.full(order - 1, boundary, np.int64)
    padded = [part for group in groups for text in group for part in (padding, text)]
    symbols: Symbols = np.concatenate([np.empty(0, np.int64), *padded]).astype(np.int64)
    lengths = [sum(len(text) + order - 1 for text in group) for group in groups]
    counted = np.zeros(len(symbols), bool)
    counted[: lengths[0]] = True
    counted &= symbols != boundary

    probability = np.full(len(symbols), 1 / alphabet)
    history = np.zeros(len(symbols), np.int64)
    for _ in range(order):
        # `history[t]` numbers the run of symbols before t, `gram[t]` that run with t's symbol.
        gram = _numbered(history * (boundary + 1) + symbols)
        _, first_of_gram = np.unique(gram[counted], return_index=True)
        gram_count = np.bincount(gram[counted], minlength=gram.max() + 1)
        history_count = np.bincount(history[counted], minlength=history.max() + 1)
        followers = np.bincount(history[counted][first_of_gram], minlength=history.max() + 1)
        weight = history_count[history] + followers[history]
        backed_off = gram_count[gram] + followers[history] * probability
        probability = np.where(weight > 0, backed_off / np.maximum(weight, 1), probability)
        history = np.concatenate([[0], gram[:-1]])  # one symbol longer, for the next round
    nats = -np.log(probability).astype(np.float32)

    place = lengths[0]
    costs: dict[str, list[npt.NDArray[np.float32]]] = {}
    for name, group in scored.items():
        costs[name] = []
        for text in group:
            place += order - 1
            costs[name].append(nats[place : place + len(text)])
            place += len(text)
    return costs


def _numbered(values: Symbols) -> Symbols:
    """Number the distinct values from 0, in their order."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _compressed_nats(texts: Sequence[npt.NDArray[Any]]) -> float:
    """Return the size of the texts' symbols, compressed as one by xz, in nats."""
    joined = b"".join(text.tobytes() for text in texts)
    return len(lzma.compress(joined, preset=6)) * 8 * math.log(2)
