"""Rules count what they replace, and take linear time."""

import time

import pyarrow as pa
import pytest

from charlm.errors import CharlmError
from charlm.text.cleaning.engine import apply_rule, quadratic_text
from charlm.text.cleaning.profiles import RuleSettings, rules_of
from tests.text.corpus import cleaned


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^a", "aaa", 1),
        (r"\bx", "xxx xx", 2),
        ("x*", "é漢", 3),
        ("$", "abc", 1),
        ("(?m)^b", "b\nbb", 2),
        ("[^a]", "bab", 2),
        (r"\$", "$$", 2),
    ],
)
def test_the_count_of_matches_is_the_number_of_replacements(
    pattern: str, text: str, matches: int
) -> None:
    [rule], _ = rules_of("none", [{"name": "r", "pattern": pattern, "replacement": "-"}])
    result, counts = apply_rule(rule, pa.array([text], pa.large_string()))
    assert counts[0] == matches == result[0].as_py().count("-")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "r", "pattern": "("}, "rule 'r': Invalid regular expression: missing \\)"),
        ({"name": "r", "pattern": "(?=a)"}, "which has no look-around"),
        ({"name": "r", "pattern": r"(a)\1"}, "invalid escape sequence"),
        ({"name": "r", "pattern": "a", "replacement": r"\1"}, "only has 0 parenthesized"),
        ({"name": "r", "pattern": "(a{1000}){1000}"}, "invalid repetition size"),
        *[
            ({"name": "r", "pattern": pattern}, f"hours on a long run of '{text}")
            for pattern, text in {
                "<[^>]*>|<": "<<<",
                "(?s)a.*b|a": "aaa",
                r"\[[^\]]*\]\([^)]*\)|\[": r"\[\[\[",
                "<b.*>|<i.*>|ab": "<b",
                "a(.*c)?": "aaa",
            }.items()
        ],
    ],
)
def test_a_rule_that_the_engine_cannot_run_is_refused(rule: RuleSettings, message: str) -> None:
    with pytest.raises(CharlmError, match=message):
        rules_of("standard", [rule])


@pytest.mark.parametrize(
    "pattern",
    [
        *("x*", r"\bcat\b", r"(a+)+$|(x+x+)+y", r"https?://\S*[^\s.,]", r"x(\d+y)?", "(a{500}){2}"),
        *(r"\p{Han}+|\p{Cyrillic}+", "[a-z]+@[a-z.]+|[a-z]+", r"(?s)```.*?```", r"\[[^\]]*\]"),
        *(rule.pattern for rule in rules_of("standard")[0]),
        *(rule.pattern for rule in rules_of("notebook")[0]),
    ],
)
def test_a_rule_of_linear_time_is_accepted(pattern: str) -> None:
    assert quadratic_text(pattern) is None


ATTACKS = [
    "<",
    "&",
    "http",
    "<a",
    "<!--<b>",
    "<script>",
    "<style></script>",
    "<a ='>",
    '<p ="',
    "&#",
]
ATTACKS += [
    "http://",
    "www.",
    "&a",
    "&#9",
    "a\u0301\u0316",
    "\u200d",
    "👨\u200d",
    "🇩",
    " \n",
    "\t ",
    "1\ufe0f",
]


@pytest.mark.parametrize("profile", ["notebook", "standard"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_cleaning_takes_linear_time(attack: str, profile: str) -> None:
    def seconds(size: int) -> float:
        text = attack * (size // len(attack.encode()))
        start = time.perf_counter()
        cleaned([text], profile)
        return time.perf_counter() - start

    seconds(1000)
    # Sixteen times as much text would take 256 times as long if time were quadratic.
    assert seconds(1 << 18) < 100 * max(seconds(1 << 14), 0.01)


def test_a_catastrophic_pattern_is_harmless() -> None:
    evil: RuleSettings = {"name": "evil", "pattern": "(a+)+$|(x+x+)+y", "replacement": "!"}
    assert cleaned(["a" * 100_000 + "b", "x" * 100_000], "none", [evil])[0].endswith("b")
