"""Text, scores and shares as HTML."""

import html
import re

import pytest

from charlm.evaluation.memorization import Overlap
from charlm.report.html import compared, percent, shown, shown_change, shown_sample


def test_invisible_characters_are_written_out() -> None:
    assert shown("a\u200db\n") == "<bdi>a\u200db\n</bdi>"
    assert shown("\x00") == ('<bdi><span class="code-point" title="null">U+0000</span></bdi>')
    assert shown("abcdef", 3) == "<bdi>abc…</bdi>"
    assert shown("<&>") == "<bdi>&lt;&amp;&gt;</bdi>"


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ("to watch.<br /><br />He is", "to watch.\n\nHe is so", ("<br·/><br·/>", "↵↵")),
        ("a &amp; b", "a & b", ("amp;", "")),
        ("the end.  ", "the end.", ("··", "")),
        ("see http://a.org/long/pa", "see ", ("http://a.org/long/pa", "")),
        ("see http://a.org/long/pa", "see   and so on", ("http://a.org/long/pa", "··and·so·on")),
        ("\u200bx", "x", ("U+200B", "")),
    ],
)
def test_what_a_rule_changed_is_marked(before: str, after: str, marked: tuple[str, str]) -> None:
    for text, expected in zip(shown_change(before, after), marked, strict=True):
        found = re.findall("<mark>(.*?)</mark>", text)
        assert [html.unescape(re.sub("<.*?>", "", each)) for each in found] == [expected] * bool(
            expected
        )


def test_copied_passages_are_marked() -> None:
    overlap: Overlap = {"longest": [1, 5], "share": None, "passages": [[3, 6], [9, 11]]}
    assert shown_sample("abc<defghij", overlap, 10) == (
        '<bdi>a<u>bc</u><mark class="copied"><u>&lt;d</u></mark><mark class="copied">e</mark>'
        'fgh<mark class="copied">i</mark>…</bdi>'
    )


@pytest.mark.parametrize(
    ("score", "other", "words"),
    [
        (1.5, 2.0, "25% fewer than"),
        (2.5, 2.0, "25% more than"),
        (1.986, 2.0, "1% fewer than"),
        (2.014, 2.0, "1% more than"),
        (1.994, 2.0, "about as many as"),
        (0.5, 0.0, "more than"),
        (0.5, 1e-9, "more than"),
        (0.0, 0.0, "about as many as"),
        (0.0, 2.0, "100% fewer than"),
    ],
)
def test_scores_are_compared_in_words(score: float, other: float, words: str) -> None:
    assert compared(score, other) == words


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0"), (0.0004, "under 0.1"), (0.0005, "0.1"), (0.12345, "12.3"), (1, "100.0")],
)
def test_shares_in_percent(share: float, text: str) -> None:
    assert percent(share) == f"{text}%"
