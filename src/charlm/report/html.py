"""HTML of the page: its templates, filters and content security policy.

All text from the corpus is untrusted. Jinja escapes it, `shown` makes control characters harmless,
and the content security policy allows only the page's own scripts.
"""

import base64
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile
from operator import eq, itemgetter
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from charlm.evaluation.memorization import Overlap

TEMPLATES = Path(__file__).parent / "templates"

CONTEXT = 4
"""Characters that must be equal after a change for the change to end."""
HIGHEST_LEVEL = 7
"""A character with at least this many bits has the darkest shade."""

CONTROLS = {"\t": "tab", "\n": "line feed", "\r": "carriage return", "\0": "null"}


def environment() -> Environment:
    """Return the environment of the templates, with their filters and functions."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["shown"] = shown
    made.filters["number"] = "{:,}".format
    made.filters["bits"] = "{:z.3f}".format  # z: no minus sign before 0.000
    made.filters["signed_bits"] = "{:+z.3f}".format
    made.filters["percent"] = percent
    made.filters["duration"] = duration
    made.globals["compared"] = compared
    made.globals["shown_change"] = shown_change
    made.globals["shown_sample"] = shown_sample
    made.globals["shown_surprise"] = shown_surprise
    return made


def icon() -> str:
    """Return the page's icon as a data address."""
    return f"data:image/svg+xml,{quote((TEMPLATES / 'icon.svg').read_text(encoding='utf-8'))}"


def asset(name: str) -> Markup:
    """Return one of the page's own style sheets or scripts."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def security_policy(scripts: Iterable[str], style: str) -> str:
    """Return a content security policy that allows these scripts and this style sheet only.

    Pictures may only be part of the page, as its icon is.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_source_hash, scripts))}",
            f"style-src {_source_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _source_hash(text: str) -> str:
    """Return the source expression of an inline script or style sheet."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def shown(text: str, limit: int | None = None) -> Markup:
    """Return `text` as HTML that cannot affect the page around it.

    The text is escaped, isolated from the surrounding text direction and cut to `limit`
    characters. Control and formatting characters are written out as code points, except the line
    feed, the tab and the joiners.

    >>> shown("<b>", limit=2)
    Markup('<bdi>&lt;b…</bdi>')
    """
    cut = text if limit is None or len(text) <= limit else text[:limit].rstrip() + "…"
    return Markup("<bdi>{}</bdi>").format(_escaped(cut))


def _escaped(text: str) -> Markup:
    pieces = [
        Markup('<span class="code-point" title="{}">U+{:04X}</span>').format(
            character_name(character), ord(character)
        )
        if is_control(character)
        else escape(character)
        for character in text
    ]
    return Markup("").join(pieces)


def shown_surprise(text: str, bits: Sequence[float], limit: int) -> Markup:
    """Return a text as HTML, cut to `limit` characters, with each shaded by its bits.

    >>> shown_surprise("ab!", [0.2, 0.9, 9.0], 9)
    Markup('<bdi>ab<span class="bits-7">!</span></bdi>')
    """
    levels = [min(HIGHEST_LEVEL, int(each)) for each in bits[:limit]]
    parts = []
    for level, characters in groupby(zip(levels, text, strict=False), key=itemgetter(0)):
        part = _escaped("".join(character for _, character in characters))
        if level:
            part = Markup('<span class="bits-{}">{}</span>').format(level, part)
        parts.append(part)
    ending = "…" if len(text) > limit else ""
    return Markup("<bdi>{}{}</bdi>").format(Markup("").join(parts), ending)


def plain(text: str, limit: int) -> str:
    """Return the beginning of a text, with control characters written as code points."""
    return "".join(
        f"U+{ord(character):04X}" if is_control(character) else character
        for character in (text if len(text) <= limit else text[:limit] + "…")
    )


def is_control(character: str) -> bool:
    """Return whether a character is written out as its code point; see `shown`."""
    categories = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    return unicodedata.category(character) in categories and character not in "\n\t\u200c\u200d"


def character_name(character: str) -> str:
    """Return a character's name in Unicode, or a common one for a control character."""
    known = CONTROLS.get(character) or unicodedata.name(character, "").lower()
    return known or f"U+{ord(character):04X}"


def shown_sample(text: str, overlap: Overlap, limit: int) -> Markup:
    """Return a sample as HTML, cut to `limit` characters, with its copied passages marked."""
    cut = text[:limit]
    low, high = overlap["longest"]
    ends = [end for passage in overlap["passages"] for end in passage]
    bounds = sorted({0, len(cut), *(end for end in (low, high, *ends) if end < len(cut))})
    parts = []
    for start, stop in pairwise(bounds):
        part = _escaped(cut[start:stop])
        if low <= start < high:
            part = Markup("<u>{}</u>").format(part)
        if any(first <= start < last for first, last in overlap["passages"]):
            part = Markup('<mark class="copied">{}</mark>').format(part)
        parts.append(part)
    ending = "…" if len(text) > limit else ""
    return Markup("<bdi>{}{}</bdi>").format(Markup("").join(parts), ending)


def shown_change(before: str, after: str) -> tuple[Markup, Markup]:
    """Return two texts as HTML, with their first difference marked and its white space visible."""
    start = sum(takewhile(bool, map(eq, before, after)))
    # The shortest change after which both texts continue in the same way.
    old, new = next(
        (total - added, added)
        for total in range(len(before) + len(after) + 1)
        for added in range(max(0, total - len(before) + start), total + 1)
        if before[start + total - added :][:CONTEXT] == after[start + added :][:CONTEXT]
    )
    marked = []
    for text, length in ((before, old), (after, new)):
        text = text.replace("\n", "\u21b5")
        changed = text[start : start + length].replace(" ", "\u00b7").replace("\t", "\u21e5")
        mark = Markup("<mark>{}</mark>").format(_escaped(changed)) if changed else ""
        left, right = _escaped(text[:start]), _escaped(text[start + length :])
        marked.append(Markup("<bdi>{}{}{}</bdi>").format(left, mark, right))
    return marked[0], marked[1]


def compared(score: float, other: float) -> str:
    """Say in whole percent how much lower or higher `score` is than `other`.

    >>> compared(1.5, 2.0)
    '25% fewer than'
    """
    if round(other, 3) == 0:  # shown as 0.000, of which there is no percentage
        return "about as many as" if round(score, 3) == 0 else "more than"
    percent = round(100 * (1 - score / other))
    if percent == 0:
        return "about as many as"
    return f"{abs(percent)}% {'fewer' if percent > 0 else 'more'} than"


def percent(share: float) -> str:
    """Format a share in percent; a tiny share is not shown as zero."""
    return "under 0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def duration(seconds: float) -> str:
    """Format a time for readers.

    >>> duration(7.4), duration(200), duration(9000)
    ('7 seconds', '3 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} second{'s' if seconds >= 1.5 else ''}"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@dataclass(frozen=True)
class Scale:
    """A horizontal scale from `low` to `high`, for bars and whiskers."""

    low: float
    high: float

    def position(self, value: float) -> str:
        """Return the position of a value in percent of the width.

        >>> Scale(1.0, 3.0).position(1.5)
        '25.00%'
        """
        return f"{100 * (value - self.low) / (self.high - self.low or 1):.2f}%"
