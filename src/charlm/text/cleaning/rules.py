"""The classes of rules, and the built-in rules."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc
import regex

Builtin = Callable[[str], tuple[str, int]]


@dataclass(frozen=True)
class TextRule:
    """A named rule that changes texts.

    Attributes:
        name: The name of the rule.
        pattern: A regular expression in RE2's syntax.
        replacement: What replaces each match of the pattern.
        builtin: A function to apply instead to each document in which the pattern occurs; it
            returns the new text and the number of matches.
        beyond_ascii: The pattern matches nothing in ASCII text, so ASCII texts are skipped.
    """

    name: str
    pattern: str
    replacement: str = ""
    builtin: Builtin | None = None
    beyond_ascii: bool = False


@dataclass(frozen=True)
class DocumentRule:
    """A named rule that drops whole documents; `kind` is one of `DOCUMENT_RULES`."""

    name: str
    kind: str


DOCUMENT_RULES = ("empty_documents", "duplicates", "near_duplicates")

# Names of HTML entities have at most 31 letters.
REFERENCE = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]{1,30});?")

# Runs of emoji. Possessive, since a run can be parsed in exponentially many ways.
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

# Scripts whose spelling uses the zero-width joiner and non-joiner.
JOINING = (
    r"\p{Arabic}\p{Syriac}\p{Nko}\p{Mongolian}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}"
    r"\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Tibetan}\p{Myanmar}\p{Khmer}"
)

JOINERS = regex.compile(rf"(?<![{JOINING}])[\u200c\u200d]+")


def _decode_entities(text: str) -> tuple[str, int]:
    """Decode HTML character references."""
    found = sum(_decoded(reference) != reference for reference in REFERENCE.findall(text))
    return REFERENCE.sub(lambda match: _decoded(match[0]), text), found


@lru_cache(1024)
def _decoded(reference: str) -> str:
    # Python refuses numbers of thousands of digits; HTML replaces numbers that are too large.
    return html.unescape(reference) if len(reference) < 4000 else "\N{REPLACEMENT CHARACTER}"


def _compose(text: str) -> tuple[str, int]:
    """Return the text in NFC, and 1 if it changed, else 0.

    A letter keeps at most 30 marks, as in Unicode's stream-safe format: more would
    slow a normalizer down.
    """
    safe = STACKED_MARKS.sub(r"\1", text, concurrent=True)
    # Arrow's normalizer, not Python's: the lock file fixes its version of Unicode.
    composed: str = pc.utf8_normalize(pa.scalar(safe, pa.large_string()), "NFC").as_py()
    return composed, int(composed != text)


def _remove_emoji(text: str) -> tuple[str, int]:
    """Remove emoji as whole graphemes; those between two words become a space."""

    def gap(run: "regex.Match[str]") -> str:
        ends = text[max(0, run.start() - 1) : run.start()] + text[run.end() : run.end() + 1]
        return " " if TWO_WORDS.fullmatch(ends) else ""

    removed: tuple[str, int] = EMOJI.subn(gap, text, concurrent=True)
    return removed


def _remove_joiners(text: str) -> tuple[str, int]:
    removed: tuple[str, int] = JOINERS.subn("", text, concurrent=True)
    return removed


def _decode_windows_1252(text: str) -> tuple[str, int]:
    """Decode C1 control characters as Windows-1252, as HTML does for numeric references."""
    return re.subn("[\x80-\x9f]", lambda match: _decoded(f"&#{ord(match[0])};"), text)


BUILTINS = {
    "entities": TextRule("entities", "&[#a-zA-Z]", builtin=_decode_entities),
    "nfc": TextRule("nfc", r"[^\x{0}-\x{2ff}]", builtin=_compose, beyond_ascii=True),
    "emoji": TextRule(
        "emoji",
        r"[\x{a9}\x{ae}\x{20e3}\x{203c}-\x{3299}\x{1f000}-\x{1faff}]",
        builtin=_remove_emoji,
        beyond_ascii=True,
    ),
    "windows_1252": TextRule(
        "windows_1252", r"[\x{80}-\x{9f}]", builtin=_decode_windows_1252, beyond_ascii=True
    ),
    "joiners": TextRule(
        "joiners", r"[\x{200c}\x{200d}]", builtin=_remove_joiners, beyond_ascii=True
    ),
}
