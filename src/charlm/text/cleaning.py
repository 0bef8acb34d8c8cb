"""The cleaning of documents: an ordered list of named rules, each of them linear in its input.

A rule is a pattern of the RE2 engine (https://github.com/google/re2/wiki/Syntax), which never
backtracks, or a built-in function for what no such pattern says. Rules that look at one document
run shard by shard (`clean_shard`); duplicates and splits need all documents (`gather`).
"""

import html
import json
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import regex
from numpy.typing import NDArray

from charlm import files
from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text import splits as split_rules
from charlm.text.streams import TableWriter, column, ordered_map, output, row_groups, utf8_rows

Builtin = Callable[[str], tuple[str, int]]


@dataclass(frozen=True)
class Rule:
    """A named step of cleaning.

    `pattern` is RE2; its matches become `replacement`. With a `builtin` instead, the pattern tells
    which documents the function has to look at; it returns the new text and its count of matches.
    `beyond_ascii` says that the pattern matches nothing in ASCII text, which is then passed over.
    """

    name: str
    pattern: str
    replacement: str = ""
    builtin: Builtin | None = None
    beyond_ascii: bool = False


# What the notebook's code does, said in RE2, whose \S is ASCII alone: a link ends there at what
# Python's str.isspace() takes for white space.
PYTHON_SPACE = (
    r"\s\x0b\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)
NOTEBOOK = (
    Rule("tags", r"<[^>\n]*>"),
    Rule("links", rf"http[^{PYTHON_SPACE}]+", " "),
    Rule("nbsp", "&nbsp"),
    Rule("semicolons", ";", " "),
    Rule("colons", ":", " "),
    Rule(
        "emoji",
        r"[\x{24C2}-\x{1F251}\x{10000}-\x{10FFFF}\x{2500}-\x{2BEF}"
        r"\x{200A}\x{200B}\x{200D}\x{2028}\x{231A}\x{23CF}\x{23E9}\x08]+",
    ),
)

BLOCK_TAGS = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|frameset|h[1-6]|head|header|hgroup|hr|html|legend|li|"
    "main|menu|nav|noscript|ol|optgroup|option|p|pre|search|section|select|summary|table|tbody|"
    "textarea|tfoot|thead|title|tr|ul"
)
INLINE_TAGS = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|q|rb|"
    "rp|rt|rtc|ruby|s|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr"
)
# A value in quotes may hold ">"; an apostrophe that opens no value is passed over. No tag reaches
# beyond the next "<", so that a search never looks further than that: linear time.
ATTRIBUTES = r"""(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*)?>"""
# Scripts in whose spelling the zero-width joiner and non-joiner take part.
JOINING = "".join(
    rf"\p{{{script}}}"
    for script in [
        "Arabic",
        "Syriac",
        "Mongolian",
        "Nko",
        "Devanagari",
        "Bengali",
        "Gurmukhi",
        "Gujarati",
        "Oriya",
        "Tamil",
        "Telugu",
        "Kannada",
        "Malayalam",
        "Sinhala",
        "Tibetan",
        "Myanmar",
        "Khmer",
    ]
)


def _decode_entities(text: str) -> tuple[str, int]:
    """Decode character references as HTML says."""
    return re.subn(r"&(?:#\d+|#[xX][\da-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);?", _decoded, text)


def _decoded(match: re.Match[str]) -> str:
    return html.unescape(match[0])


def _compose(text: str) -> tuple[str, int]:
    """Return the text in NFC, and how often 1 if that changes it."""
    composed = unicodedata.normalize("NFC", text)
    return composed, int(composed != text)


EMOJI = regex.compile(
    r"""
    \p{Regional_Indicator}{1,2}
    | [0-9\#*]\ufe0f?\u20e3
    | (?: \p{Emoji_Presentation} | \p{Extended_Pictographic}\ufe0f
        | [\u2600-\u27bf\U0001f000-\U0001faff--[\u2768-\u2775]]&&\p{Extended_Pictographic} )
      [\ufe0e\ufe0f\u20e3\p{Emoji_Modifier}\U000e0020-\U000e007f]*
      (?: \u200d \p{Extended_Pictographic}
          [\ufe0e\ufe0f\u20e3\p{Emoji_Modifier}\U000e0020-\U000e007f]* )*
    """,
    regex.VERBOSE | regex.VERSION1,
)
STACKED_MARKS = regex.compile(r"(\p{M}{30})\p{M}+")
JOINERS = regex.compile(rf"(?<![{JOINING}])[\u200c\u200d]+")


def _remove_emoji(text: str) -> tuple[str, int]:
    removed: tuple[str, int] = EMOJI.subn("", text, concurrent=True)
    return removed


def _remove_joiners(text: str) -> tuple[str, int]:
    removed: tuple[str, int] = JOINERS.subn("", text, concurrent=True)
    return removed


def _decode_windows_1252(text: str) -> tuple[str, int]:
    """Take C1 control characters for Windows-1252's, as HTML does for their numbers."""
    return re.subn("[\x80-\x9f]", lambda match: html.unescape(f"&#{ord(match[0])};"), text)


def _unstack_marks(text: str) -> tuple[str, int]:
    """Leave 30 marks on a letter, as Unicode's stream-safe format; more stall any normaliser."""
    removed: tuple[str, int] = STACKED_MARKS.subn(r"\1", text, concurrent=True)
    return removed


BUILTINS = {
    "entities": Rule("entities", "&[#a-zA-Z]", builtin=_decode_entities),
    "nfc": Rule("nfc", r"[^\x{0}-\x{2ff}]", builtin=_compose, beyond_ascii=True),
    "emoji": Rule(
        "emoji",
        r"[\x{a9}\x{ae}\x{20e3}\x{203c}-\x{3299}\x{1f000}-\x{1faff}]",
        builtin=_remove_emoji,
        beyond_ascii=True,
    ),
    "windows_1252": Rule(
        "windows_1252", r"[\x{80}-\x{9f}]", builtin=_decode_windows_1252, beyond_ascii=True
    ),
    "stacked_marks": Rule(
        "stacked_marks", r"\pM\pM\pM\pM", builtin=_unstack_marks, beyond_ascii=True
    ),
    "joiners": Rule("joiners", r"[\x{200c}\x{200d}]", builtin=_remove_joiners, beyond_ascii=True),
}
STANDARD = (
    Rule("line_ends", r"\r\n?|[\x0b\x0c]", "\n"),
    Rule("comments", r"(?s)<!--.*?-->"),
    Rule("scripts", r"(?is)<script\b[^>]*>.*?</script\s*>", " "),
    Rule("styles", r"(?is)<style\b[^>]*>.*?</style\s*>", " "),
    Rule("block_tags", rf"(?i)</?(?:{BLOCK_TAGS}){ATTRIBUTES}", "\n"),
    Rule("inline_tags", rf"(?i)</?(?:{INLINE_TAGS}){ATTRIBUTES}"),
    Rule("other_tags", rf"(?i)</?[a-z][^\s/<>]*{ATTRIBUTES}|<[!?][a-z\[][^<>]*>", " "),
    Rule("links", r"""(?i)\b(?:https?://|www\.)[^\s<>"]*[^\s<>".,;:!?()\[\]'*]""", " "),
    BUILTINS["entities"],
    BUILTINS["stacked_marks"],
    BUILTINS["nfc"],
    BUILTINS["emoji"],
    BUILTINS["joiners"],
    BUILTINS["windows_1252"],
    Rule("line_separators", r"[\x{2028}\x{2029}]", "\n", beyond_ascii=True),
    Rule(
        "invisible",
        r"[\x00-\x08\x0e-\x1f\x7f-\x{9f}\x{ad}\x{61c}\x{200b}\x{200e}\x{200f}"
        r"\x{202a}-\x{202e}\x{2060}-\x{206f}\x{fe0e}\x{fe0f}\x{feff}\x{fff9}-\x{fffb}"
        r"\x{e0001}\x{e0020}-\x{e007f}]+",
    ),
    Rule("spaces", r"[\t\pZ]{2,}|[\t\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]", " "),
    Rule("line_edges", r" +\n *|\n +", "\n"),
    Rule("blank_lines", r"\n{3,}", "\n\n"),
    Rule("edges", r"\A\s+|\s+\z"),
)
PROFILES: dict[str, tuple[Rule, ...]] = {"none": (), "notebook": NOTEBOOK, "standard": STANDARD}


def clean(
    documents: str | Path,
    corpus: str | Path,
    summary: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    splits: Mapping[str, Any],
) -> None:
    """Write `corpus` (doc_id int64, split string, text string; source order) and `summary`.

    `summary` is a table of rule, matches, characters_removed and documents, separated by tabs.

    Args:
        documents: the table that `charlm.text.sources.ingest` wrote.
        corpus: the Parquet file to write.
        summary: the text file to write.
        profile: `standard`, `notebook` or `none`.
        rules: {name, pattern, replacement} or {name, builtin}; one with the name of a profile's
            rule takes its place, others follow.
        splits: {method, validation, test, key}; see `charlm.text.splits`.

    Raises:
        CharlmError: if a rule is not valid, or nothing is left to train on.
    """
    with tempfile.TemporaryDirectory(dir=_folder(corpus)) as folder:
        part = Path(folder) / "part.parquet"
        clean_shard(documents, part, profile=profile, rules=rules, splits=splits)
        gather([part], corpus, summary, profile=profile, rules=rules, splits=splits)


def clean_shard(
    documents: str | Path,
    part: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    splits: Mapping[str, Any],
    shard: int = 0,
    shards: int = 1,
) -> None:
    """Clean one of several even shares of the documents, for `gather` to put together."""
    chosen = rules_of(profile, rules)
    missing = "nan" if profile == "notebook" else None
    work = partial(_clean_table, rules=chosen, missing=missing, key=str(splits["key"]))
    totals = np.zeros((len(chosen), 3), np.int64)
    with output(part) as temporary, TableWriter(temporary) as writer:
        with progress(None, "clean", " documents") as bar:
            tables = row_groups(documents, ["doc_id", "text"], shard=shard, shards=shards)
            for table, counts in ordered_map(work, tables):
                writer.add(table)
                totals += counts
                bar.update(len(table))
        writer.note("counts", json.dumps(totals.tolist()))


def gather(
    parts: Sequence[str | Path],
    corpus: str | Path,
    summary: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    splits: Mapping[str, Any],
) -> None:
    """Drop empty and duplicate documents, split the others, and write what `clean` writes."""
    chosen = rules_of(profile, rules)
    rows = [
        (rule.name, counts)
        for rule, counts in zip(chosen, _sum_of_counts(parts).tolist(), strict=True)
    ]
    facts = [table for part in parts for table in row_groups(part, ["fingerprint", "characters"])]
    prints = _fingerprints(facts)
    characters = np.concatenate([np.asarray(column(table, "characters")) for table in facts])
    keep = np.ones(len(prints), np.bool_)
    if profile == "standard":
        for name, dropped in (
            ("empty_documents", characters == 0),
            ("duplicates", _repeated(prints)),
        ):
            dropped &= keep
            keep &= ~dropped
            removed = int(characters[dropped].sum())
            rows.append((name, [int(dropped.sum()), removed, int(dropped.sum())]))
    if not characters[keep].any():
        raise CharlmError(f"{corpus}: cleaning leaves no text; mend cleaning.rules or the source")
    names = _splits(prints, np.where(keep, characters, 0), splits)
    if not characters[keep & (names[:, 0] == 0)].any():
        raise CharlmError(
            f"{corpus}: {int(keep.sum()):,} documents are too few to split: none is left to train "
            "on; give more documents, other fractions or splits.method: contiguous"
        )
    with output(corpus) as temporary, TableWriter(temporary) as writer:
        start = 0
        for table in chain.from_iterable(row_groups(part, ["doc_id", "text"]) for part in parts):
            rows_here = slice(start, start + len(table))
            start += len(table)
            for piece in _pieces(table, keep[rows_here], names[rows_here]):
                writer.add(piece)
    lines = ["rule\tmatches\tcharacters_removed\tdocuments"]
    lines += ["\t".join(map(str, (name, *counts))) for name, counts in rows]
    files.write_text(summary, "\n".join(lines) + "\n")


def write_plain_text(corpus: str | Path, path: str | Path, *, separator: str) -> None:
    """Write all documents of a corpus as one text, `separator` between them."""
    previous: int | None = None
    with output(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for table in row_groups(corpus, ["doc_id", "text"]):
            ids, texts = table["doc_id"].to_pylist(), table["text"].to_pylist()
            for doc_id, text in zip(ids, texts, strict=True):
                if previous not in (None, doc_id):
                    file.write(separator)
                file.write(text)
                previous = doc_id


# Rules ----------------------------------------------------------------------------------------


def rules_of(profile: str, rules: Sequence[Mapping[str, str]] = ()) -> list[Rule]:
    """Return the rules of a profile with those of the user in their places.

    Raises:
        CharlmError: if there is no such profile or built-in, or the engine refuses a pattern.
    """
    if profile not in PROFILES:
        raise CharlmError(f"cleaning.profile: {profile!r} is none of {', '.join(PROFILES)}")
    named = {rule.name: rule for rule in PROFILES[profile]}
    for entry in rules:
        name = entry["name"]
        builtin = entry.get("builtin")
        if builtin is None:
            rule = Rule(name, entry["pattern"], entry.get("replacement", ""))
        elif builtin in BUILTINS:
            rule = replace(BUILTINS[builtin], name=name)
        else:
            raise CharlmError(
                f"cleaning.rules: rule {name!r}: there is no built-in {builtin!r}; "
                f"there is {', '.join(BUILTINS)}"
            )
        try:
            pc.replace_substring_regex(pa.array([""]), rule.pattern, rule.replacement)
        except pa.ArrowInvalid as error:
            raise CharlmError(
                f"cleaning.rules: rule {name!r}: {' '.join(str(error).split())}; patterns are "
                "RE2's, which has no look-around and no back-references"
            ) from None
        named[name] = rule
    return list(named.values())


def apply_rule(rule: Rule, texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the texts (large_string, no nulls) after a rule, and [matches, removed, documents]."""
    if rule.beyond_ascii:
        concerned = pc.invert(pc.string_is_ascii(texts))
        some, counts = apply_rule(replace(rule, beyond_ascii=False), texts.filter(concerned))
        return (pc.replace_with_mask(texts, concerned, some) if counts.any() else texts), counts
    counts = pc.count_substring_regex(texts, rule.pattern)
    hit = pc.greater(counts, 0)
    documents = pc.sum(hit).as_py() or 0
    if not documents:
        return texts, np.zeros(3, np.int64)
    before = texts if documents == len(texts) else texts.filter(hit)
    if rule.builtin is None:
        after = pc.replace_substring_regex(before, rule.pattern, rule.replacement)
        matches = pc.sum(counts).as_py()
    else:
        changed, found = zip(*map(rule.builtin, before.to_pylist()), strict=True)
        after = pa.array(changed, texts.type)
        matches, documents = sum(found), sum(count > 0 for count in found)
    removed = pc.subtract(pc.sum(pc.utf8_length(before)), pc.sum(pc.utf8_length(after))).as_py()
    if len(after) < len(texts):
        after = pc.replace_with_mask(texts, hit, after)
    return after, np.array([matches, removed, documents])


def _clean_table(
    table: pa.Table, *, rules: Sequence[Rule], missing: str | None, key: str
) -> tuple[pa.Table, NDArray[np.int64]]:
    # Offsets of 64 bits, since a replacement can make a text much longer.
    texts = column(table, "text").cast(pa.large_string()).fill_null(missing or "")
    counts = np.zeros((len(rules), 3), np.int64)
    for index, rule in enumerate(rules):
        texts, counts[index] = apply_rule(rule, texts)
    prints = [split_rules.fingerprint(utf8, key=key) for utf8 in utf8_rows(texts)]
    return pa.table(
        {
            "doc_id": table["doc_id"],
            "text": texts,
            "fingerprint": pa.array(prints, pa.binary(16)),
            "characters": pc.utf8_length(texts).cast(pa.int64()),
        }
    ), counts


# Putting together -----------------------------------------------------------------------------


def _folder(path: str | Path) -> Path:
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sum_of_counts(parts: Sequence[str | Path]) -> NDArray[np.int64]:
    counts = [json.loads(pq.read_metadata(part).metadata[b"counts"]) for part in parts]
    total: NDArray[np.int64] = np.array(counts, np.int64).reshape(len(parts), -1, 3).sum(axis=0)
    return total


def _fingerprints(facts: Sequence[pa.Table]) -> NDArray[np.uint64]:
    """Return the fingerprints as two big-endian numbers a row."""
    arrays = [column(table, "fingerprint") for table in facts]
    raw = b"".join(array.buffers()[1].slice(16 * array.offset, 16 * len(array)) for array in arrays)
    return np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)


def _repeated(prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which rows are equal to an earlier one."""
    order = np.lexsort((prints[:, 1], prints[:, 0]))  # stable: the first of equals comes first
    same = (prints[order[1:]] == prints[order[:-1]]).all(axis=1)
    repeated = np.zeros(len(prints), np.bool_)
    repeated[order[1:][same]] = True
    return repeated


def _splits(
    prints: NDArray[np.uint64], characters: NDArray[np.int64], splits: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Return a row [split at its start, validation's start, test's start] for each document.

    Splits count from 0 as in `charlm.text.splits.NAMES`; the starts are offsets in the document,
    at or beyond its ends where the document is not cut there.
    """
    fractions = {name: splits[name] for name in ("validation", "test")}
    ends = np.cumsum(characters)
    if splits["method"] == "contiguous":
        starts = ends - characters
        cuts = np.array(split_rules.contiguous_boundaries(int(ends[-1]), **fractions))
        first = (starts[:, None] >= cuts).sum(axis=1)
        return np.column_stack([first, cuts - starts[:, None]])
    validation, test = split_rules.fractions(**fractions)
    limits = np.array([int(test * 2**64), int((test + validation) * 2**64)], np.uint64)
    first = np.array([2, 1, 0])[(prints[:, :1] >= limits).sum(axis=1)]
    return np.column_stack([first, np.full((len(first), 2), -1)])


def _pieces(
    table: pa.Table, keep: NDArray[np.bool_], names: NDArray[np.int64]
) -> Iterator[pa.Table]:
    """Yield the kept rows with their split, those that a boundary cuts as several."""
    texts = table["text"]
    lengths = np.asarray(pc.utf8_length(texts))
    inside = keep & ((names[:, 1:] > 0) & (names[:, 1:] < lengths[:, None])).any(axis=1)
    labels = pa.array(split_rules.NAMES)
    start = 0
    for row in [*np.flatnonzero(inside).tolist(), len(table)]:
        whole = table.slice(start, row - start)
        split = labels.take(pa.array(names[start:row, 0]))
        yield whole.add_column(1, "split", split).filter(pa.array(keep[start:row]))
        if row < len(table):
            text = texts[row].as_py()
            edges = [0, *np.clip(names[row, 1:], 0, len(text)).tolist(), len(text)]
            cut = [text[low:high] for low, high in pairwise(edges)]
            kept = [(name, part) for name, part in zip(split_rules.NAMES, cut, strict=True) if part]
            yield pa.table(
                [
                    pa.array([table["doc_id"][row].as_py()] * len(kept), pa.int64()),
                    pa.array([name for name, _ in kept]),
                    pa.array([part for _, part in kept], texts.type),
                ],
                names=["doc_id", "split", "text"],
            )
        start = row + 1
