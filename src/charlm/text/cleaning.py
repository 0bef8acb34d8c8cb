"""The cleaning of documents: an ordered list of named rules, each of them linear in its input.

A rule is a pattern of the RE2 engine (https://github.com/google/re2/wiki/Syntax), which never
backtracks, or a built-in function for what no such pattern says. Rules that look at one document
run shard by shard (`clean_shard`); duplicates and splits need all documents (`gather`).
"""

import html
import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain, groupby, pairwise, product
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
from charlm.text.duplicates import BINS, nearly_repeated, repeated, sketch
from charlm.text.tables import TableWriter, column, ordered_map, output, row_groups, utf8_rows

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


@dataclass(frozen=True)
class DocumentRule:
    """A named step that drops whole documents: `empty_documents`, `duplicates` or the like."""

    name: str
    kind: str


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
JOINING = (
    r"\p{Arabic}\p{Syriac}\p{Nko}\p{Mongolian}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}"
    r"\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Tibetan}\p{Myanmar}\p{Khmer}"
)
# No name is longer than 31 letters.
REFERENCE = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]{1,30});?")


def _decode_entities(text: str) -> tuple[str, int]:
    """Decode character references as HTML says."""
    found = sum(_decoded(reference) != reference for reference in REFERENCE.findall(text))
    return REFERENCE.sub(lambda match: _decoded(match[0]), text), found


@lru_cache(1024)
def _decoded(reference: str) -> str:
    # Python refuses to read numbers of thousands of digits; HTML takes too large ones for unknown.
    return html.unescape(reference) if len(reference) < 4000 else "\N{REPLACEMENT CHARACTER}"


def _compose(text: str) -> tuple[str, int]:
    """Return the text in NFC, and 1 if that changes it.

    A letter keeps 30 marks, as in Unicode's stream-safe format: more stall any normaliser.
    """
    safe = STACKED_MARKS.sub(r"\1", text, concurrent=True)
    # Arrow's normaliser, not Python's: its version of Unicode is the lock file's.
    composed: str = pc.utf8_normalize(pa.scalar(safe, pa.large_string()), "NFC").as_py()
    return composed, int(composed != text)


# Runs of emoji. Possessive, since a run can be read in exponentially many ways.
EMOJI = regex.compile(
    r"""
    (?: \p{Regional_Indicator}{1,2}
      | [0-9\#*]\ufe0f?\u20e3
      | (?: \p{Emoji_Presentation} | \p{Extended_Pictographic}\ufe0f
          | [[\u2600-\u27bf\U0001f000-\U0001faff]&&\p{Extended_Pictographic}] )
        [\ufe0e\ufe0f\u20e3\p{Emoji_Modifier}\U000e0020-\U000e007f]*
        (?: \u200d \p{Extended_Pictographic}
            [\ufe0e\ufe0f\u20e3\p{Emoji_Modifier}\U000e0020-\U000e007f]* )*
    )++
    """,
    regex.VERBOSE | regex.VERSION1,
)
# The ends of two words in scripts that write spaces between words.
TWO_WORDS = regex.compile(r"[\w--[\p{Han}\p{Hiragana}\p{Katakana}]]{2}", regex.VERSION1)
STACKED_MARKS = regex.compile(r"(\p{M}{30})\p{M}+")
JOINERS = regex.compile(rf"(?<![{JOINING}])[\u200c\u200d]+")


def _remove_emoji(text: str) -> tuple[str, int]:
    """Remove emoji as whole graphemes; those between two words leave a space."""

    def gap(run: "regex.Match[str]") -> str:
        ends = text[max(0, run.start() - 1) : run.start()] + text[run.end() : run.end() + 1]
        return " " if TWO_WORDS.fullmatch(ends) else ""

    removed: tuple[str, int] = EMOJI.subn(gap, text, concurrent=True)
    return removed


def _remove_joiners(text: str) -> tuple[str, int]:
    removed: tuple[str, int] = JOINERS.subn("", text, concurrent=True)
    return removed


def _decode_windows_1252(text: str) -> tuple[str, int]:
    """Take C1 control characters for Windows-1252's, as HTML does for their numbers."""
    return re.subn("[\x80-\x9f]", lambda match: _decoded(f"&#{ord(match[0])};"), text)


PIECES = 32
"""So many pieces of a pattern are tried together for texts on which it takes too long."""

PLACE = re.compile(r"(?<!\[)\^|\$|\\[bBAz]")
"""What in a pattern matches a place, not characters."""

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
    "joiners": Rule("joiners", r"[\x{200c}\x{200d}]", builtin=_remove_joiners, beyond_ascii=True),
}
SPACES = r"\t\v\f\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"
# A link ends before white space, quotation marks and scripts that write none of the two around it,
# and before the punctuation of the sentence.
LINK_END = (
    rf'{PYTHON_SPACE}<>"“”„«»\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Hangul}}'
    r"\x{3001}-\x{303f}\x{ff00}-\x{ffef}"
)
LINK = rf"""[^{LINK_END}]*[^{LINK_END}.,;:!?()\[\]'’…*]"""
# Patterns that begin with a literal are the fastest: RE2 looks for it before anything else.
STANDARD = (
    Rule("comments", r"(?s)<!--.*?-->"),
    Rule("scripts", r"(?is)<script\b[^>]*>.*?</script\s*>", " "),
    Rule("styles", r"(?is)<style\b[^>]*>.*?</style\s*>", " "),
    Rule("block_tags", rf"(?i)</?(?:{BLOCK_TAGS}){ATTRIBUTES}", "\n"),
    Rule("inline_tags", rf"(?i)</?(?:{INLINE_TAGS}){ATTRIBUTES}"),
    Rule("other_tags", rf"(?i)</?[a-z][^\s/<>]*{ATTRIBUTES}|<[!?][a-z\[][^<>]*>", " "),
    # What references stand for is as much text as the rest: `&#x2F;` in links, `&#13;`.
    BUILTINS["entities"],
    Rule("links", rf"(?i)https?://{LINK}", " "),
    Rule("bare_links", rf"(?i)www\.{LINK}", " "),
    Rule("line_ends", r"\r\n?", "\n"),
    Rule("control_characters", r"[\x00-\x08\x0e-\x1f\x7f]+"),
    BUILTINS["emoji"],
    BUILTINS["joiners"],
    BUILTINS["windows_1252"],
    Rule("line_separators", r"[\x{2028}\x{2029}]", "\n", beyond_ascii=True),
    Rule(
        "invisible",
        r"[\x{80}-\x{9f}\x{ad}\x{61c}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}"
        r"\x{fe0e}\x{fe0f}\x{feff}\x{fff9}-\x{fffb}\x{e0001}\x{e0020}-\x{e007f}]+",
        beyond_ascii=True,
    ),
    BUILTINS["nfc"],  # after all that can bring a letter and its mark together
    Rule("spaces", rf"[ {SPACES}]{{2,}}|[{SPACES}]", " "),
    Rule("trailing_spaces", r" \n", "\n"),
    Rule("leading_spaces", r"\n ", "\n"),
    Rule("blank_lines", r"\n\n\n+", "\n\n"),
    Rule("start", r"\A\s+"),
    Rule("end", r"\s+\z"),
    DocumentRule("empty_documents", "empty_documents"),
    DocumentRule("duplicates", "duplicates"),
)
LABELS = pa.array(split_rules.NAMES)
DOCUMENT_RULES = ("empty_documents", "duplicates", "near_duplicates")
PROFILES: dict[str, tuple[Rule | DocumentRule, ...]] = {
    "none": (),
    "notebook": NOTEBOOK,
    "standard": STANDARD,
}


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
    chosen, document_rules = rules_of(profile, rules)
    work = partial(
        _clean_table,
        rules=chosen,
        missing="nan" if profile == "notebook" else "",
        key=str(splits["key"]),
        sketched=any(rule.kind == "near_duplicates" for rule in document_rules),
    )
    totals = np.zeros((len(chosen), 3), np.int64)
    with output(part) as temporary, TableWriter(temporary) as writer:
        with progress(None, "clean", " documents") as bar:
            tables = row_groups(documents, ["doc_id", "text"], shard=shard, shards=shards)
            for table, counts in ordered_map(work, tables):
                writer.add(table)
                writer.flush()  # a row group for a row group: `gather` sees no shards
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
    chosen, document_rules = rules_of(profile, rules)
    counts = _sum_of_counts(parts, len(chosen))
    rows = [(rule.name, *numbers) for rule, numbers in zip(chosen, counts, strict=True)]
    fingerprints = _numbers(parts, "fingerprint", np.dtype(">u8")).astype(np.uint64)
    characters = _numbers(parts, "characters", np.dtype(np.int64))[:, 0]
    keep = np.ones(len(characters), np.bool_)
    for rule in document_rules:
        if rule.kind == "empty_documents":
            dropped = characters == 0
        elif rule.kind == "duplicates":
            dropped = repeated(fingerprints)
        else:
            dropped = nearly_repeated(_numbers(parts, "sketch", np.dtype(np.uint16)))
        dropped &= keep
        keep &= ~dropped
        number = int(dropped.sum())
        rows.append((rule.name, number, int(characters[dropped].sum()), number))
    if not characters[keep].any():
        raise CharlmError(f"{corpus}: cleaning leaves no text; mend cleaning.rules or the source")
    names, cuts = _splits(fingerprints, np.where(keep, characters, 0), splits)
    if not characters[keep & (names == 0)].any():
        if splits["method"] == "contiguous":
            raise CharlmError(
                f"{corpus}: {int(characters[keep].sum()):,} characters are too few to split "
                "contiguously: none is left to train on; give more text or lower splits.validation "
                "and splits.test"
            )
        raise CharlmError(
            f"{corpus}: {int(keep.sum()):,} documents are too few to split: none is left to train "
            "on; give more documents, other fractions or splits.method: contiguous"
        )
    with output(corpus) as temporary, TableWriter(temporary) as writer:
        start = 0
        for table in chain.from_iterable(row_groups(part, ["doc_id", "text"]) for part in parts):
            end = start + len(table)
            cut = [row for row in cuts if start <= row < end]
            edges = [start, *(edge for row in cut for edge in (row, row + 1)), end]
            for low, high in pairwise(edges):
                piece = table.slice(low - start, high - low)
                if low in cuts and high == low + 1:
                    writer.add(_cut(piece, cuts[low]))
                else:
                    split = LABELS.take(pa.array(names[low:high]))
                    piece = piece.add_column(1, "split", split)
                    writer.add(piece.filter(pa.array(keep[low:high])))
            start = end
    lines = ["rule\tmatches\tcharacters_removed\tdocuments"]
    lines += ["\t".join(map(str, row)) for row in rows]
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


def rules_of(
    profile: str, rules: Sequence[Mapping[str, str]] = ()
) -> tuple[list[Rule], list[DocumentRule]]:
    """Return the rules of a profile with those of the user in their places.

    Those that change texts come first, those that drop documents follow, in their own orders.

    Raises:
        CharlmError: if there is no such profile or built-in, or the engine refuses a pattern.
    """
    if profile not in PROFILES:
        raise CharlmError(f"cleaning.profile: {profile!r} is none of {', '.join(PROFILES)}")
    named = {rule.name: rule for rule in PROFILES[profile]}
    rule: Rule | DocumentRule
    for entry in rules:
        name = entry["name"]
        builtin = entry.get("builtin")
        if builtin is None:
            rule = Rule(name, entry["pattern"], entry.get("replacement", ""))
        elif builtin in DOCUMENT_RULES:
            rule = DocumentRule(name, builtin)
        elif builtin in BUILTINS:
            rule = replace(BUILTINS[builtin], name=name)
        else:
            raise CharlmError(
                f"cleaning.rules: rule {name!r}: there is no built-in {builtin!r}; "
                f"there is {', '.join([*BUILTINS, *DOCUMENT_RULES])}"
            )
        if isinstance(rule, Rule):
            _check(rule)
        named[name] = rule
    return (
        [rule for rule in named.values() if isinstance(rule, Rule)],
        [rule for rule in named.values() if isinstance(rule, DocumentRule)],
    )


def _check(rule: Rule) -> None:
    """Raise an error if the engine cannot run a rule."""
    try:
        pc.replace_substring_regex(pa.array([""]), rule.pattern, rule.replacement)
    except pa.ArrowInvalid as error:
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: {' '.join(str(error).split())}; patterns are "
            "RE2's, which has no look-around and no back-references"
        ) from None
    if text := quadratic_text(rule.pattern):
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: it would take hours on a long text of {text!r}; "
            "make two rules of it, or let it not reach beyond its next start ([^<>]* for [^>]*)"
        )


@lru_cache(64)
def quadratic_text(pattern: str) -> str | None:
    """Return a repetitive text on which finding all matches takes quadratic time, if one is found.

    RE2 finds one match in linear time, but not all of them if it has to look far ahead again for
    each: `<[^>]*>|<` on many `<`. So all pairs of the pattern's own pieces are tried, repeated.
    """
    literals = re.split(r"[\\^$.|?*+()\[\]{}]+", pattern)
    escaped = re.findall(r"\\(\W)", pattern)
    pieces = list(dict.fromkeys([*literals, *escaped, *"".join(literals), *" \na0é"]))[:PIECES]
    for start in dict.fromkeys(map("".join, product(["", *pieces], pieces))):
        if start and _seconds(pattern, start, 1 << 12) > 1e-3:
            # Four times the text takes sixteen times as long where time is quadratic.
            small, large = (
                min(_seconds(pattern, start, size) for _ in range(2)) for size in (1 << 12, 1 << 14)
            )
            if large > 9 * small:
                return 3 * start + "..."
    return None


def _seconds(pattern: str, start: str, size: int) -> float:
    """Return the processor's time to find the pattern in a text of so many characters."""
    text = pa.array([start * (size // len(start) + 1)])
    begin = time.thread_time()
    pc.count_substring_regex(text, pattern)
    return time.thread_time() - begin


def rule_examples(
    documents: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    limit: int = 3,
) -> list[dict[str, str]]:
    """Return up to `limit` places where each rule changed a text: rule, before, after.

    Taken from the first row group of the documents, each rule after those before it.
    """
    examples = []
    table = next(row_groups(documents, ["text"]))
    texts = column(table, "text").cast(pa.large_string()).fill_null("")
    for rule in rules_of(profile, rules)[0]:
        after, _ = apply_rule(rule, texts)
        changed = pc.indices_nonzero(pc.not_equal(texts, after))[:limit].to_pylist()
        for row in changed:
            before, now = _around_change(texts[row].as_py(), after[row].as_py())
            examples.append({"rule": rule.name, "before": before, "after": now})
        texts = after
    return examples


def _around_change(before: str, after: str, context: int = 40) -> tuple[str, str]:
    """Return two different texts from shortly before their first difference on."""
    pairs = enumerate(zip(before, after, strict=False))
    start = next((place for place, (old, new) in pairs if old != new), min(len(before), len(after)))
    low, high = max(0, start - context // 2), start + context
    return before[low:high], after[low:high]


def apply_rules(rules: Sequence[Rule], texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the texts after all rules, and a row of counts a rule; see `apply_rule`."""
    counts: list[NDArray[np.int64]] = []
    for beyond_ascii, group in groupby(rules, lambda rule: rule.beyond_ascii):
        some = texts
        if beyond_ascii:
            concerned = pc.invert(pc.string_is_ascii(texts))
            some = texts.filter(concerned)
        for rule in group:
            some, count = apply_rule(rule, some)
            counts.append(count)
        texts = pc.replace_with_mask(texts, concerned, some) if beyond_ascii else some
    return texts, np.array(counts, np.int64).reshape(-1, 3)


def apply_rule(rule: Rule, texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the texts (large_string, no nulls) after a rule, and [matches, removed, documents]."""
    counts = pc.count_substring_regex(texts, rule.pattern)
    hit = pc.greater(counts, 0)
    documents = pc.sum(hit).as_py() or 0
    if not documents:
        return texts, np.zeros(3, np.int64)
    before = texts if documents == len(texts) else texts.filter(hit)
    if rule.builtin is None:
        after = pc.replace_substring_regex(before, rule.pattern, rule.replacement)
        matches = _matches(rule.pattern, before, counts)
    else:
        changed, found = zip(*map(rule.builtin, before.to_pylist()), strict=True)
        after = pa.array(changed, texts.type)
        matches, documents = sum(found), sum(count > 0 for count in found)
    removed = pc.subtract(pc.sum(pc.utf8_length(before)), pc.sum(pc.utf8_length(after))).as_py()
    if len(after) < len(texts):
        after = pc.replace_with_mask(texts, hit, after)
    return after, np.array([matches, removed, documents])


def _matches(pattern: str, texts: pa.Array, counts: pa.Array) -> int:
    """Return how many matches a replacement finds; `counts` is what Arrow counts."""
    if not PLACE.search(pattern) and not pc.match_substring_regex("", pattern).as_py():
        return int(pc.sum(counts).as_py())
    # Arrow counts on in what is left of a text, where `^` matches anew: let each match grow by one.
    longer = pc.replace_substring_regex(texts, pattern, r"\0 ")
    return int(pc.sum(pc.binary_length(longer)).as_py() - pc.sum(pc.binary_length(texts)).as_py())


def _clean_table(
    table: pa.Table, *, rules: Sequence[Rule], missing: str, key: str, sketched: bool
) -> tuple[pa.Table, NDArray[np.int64]]:
    # Offsets of 64 bits, since a replacement can make a text much longer.
    texts = column(table, "text").cast(pa.large_string()).fill_null(missing)
    texts, counts = apply_rules(rules, texts)
    prints = [split_rules.fingerprint(utf8, key=key) for utf8 in utf8_rows(texts)]
    try:
        texts = texts.cast(pa.string())
    except pa.ArrowInvalid:
        raise CharlmError(
            f"document {table['doc_id'][0]}: cleaning makes it longer than 2 GiB; mend a rule"
        ) from None
    columns = {
        "doc_id": table["doc_id"],
        "text": texts,
        "fingerprint": pa.array(prints, pa.binary(16)),
        "characters": pc.utf8_length(texts).cast(pa.int64()),
    }
    if sketched:
        sketches = [sketch(text).tobytes() for text in texts.to_pylist()]
        columns["sketch"] = pa.array(sketches, pa.binary(2 * BINS))
    return pa.table(columns), counts


# Putting together -----------------------------------------------------------------------------


def _folder(path: str | Path) -> Path:
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sum_of_counts(parts: Sequence[str | Path], rules: int) -> list[list[int]]:
    counts = [json.loads(pq.read_metadata(part).metadata[b"counts"]) for part in parts]
    total: list[list[int]] = np.reshape(counts, (len(parts), rules, 3)).sum(axis=0).tolist()
    return total


def _numbers(parts: Sequence[str | Path], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a column of fixed width from all parts as one array of rows."""
    arrays = [column(table, name) for part in parts for table in row_groups(part, [name])]
    width = arrays[0].type.bit_width // 8
    raw = b"".join(
        array.buffers()[1].slice(width * array.offset, width * len(array))
        for array in arrays
        if len(array)
    )
    return np.frombuffer(raw, dtype).reshape(-1, width // dtype.itemsize)


def _splits(
    fingerprints: NDArray[np.uint64], characters: NDArray[np.int64], splits: Mapping[str, Any]
) -> tuple[NDArray[np.int8], dict[int, list[int]]]:
    """Return the split of each document (a place in `splits.NAMES`), and the ones that are cut.

    A cut document is given by its row and the offsets in it at which validation and test begin.
    """
    fractions = {name: splits[name] for name in ("validation", "test")}
    if splits["method"] == "contiguous":
        ends = np.cumsum(characters)
        edges = split_rules.contiguous_boundaries(int(ends[-1]), **fractions)
        starts = ends - characters
        names = np.searchsorted(edges, starts, side="right")
        rows = {int(np.searchsorted(ends, edge, side="right")) for edge in edges}
        cuts = {
            row: [int(np.clip(edge - starts[row], 0, characters[row])) for edge in edges]
            for row in sorted(rows - {len(ends)})
        }
        return names.astype(np.int8), {row: inside for row, inside in cuts.items() if any(inside)}
    limits = np.array(split_rules.document_limits(**fractions), np.uint64)
    names = 2 - np.searchsorted(limits, fingerprints[:, 0], side="right")
    return names.astype(np.int8), {}


def _cut(document: pa.Table, edges: list[int]) -> pa.Table:
    """Return one document as several rows, of different splits."""
    text = document["text"][0].as_py()
    bounds = zip(split_rules.NAMES, pairwise([0, *edges, len(text)]), strict=True)
    pieces = [(name, text[low:high]) for name, (low, high) in bounds if low < high]
    return pa.table(
        {
            "doc_id": pa.array([document["doc_id"][0].as_py()] * len(pieces), pa.int64()),
            "split": [name for name, _ in pieces],
            "text": pa.array([piece for _, piece in pieces], document["text"].type),
        }
    )
