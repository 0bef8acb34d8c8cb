"""Counts what cleaning may have left over: escapes written twice or cut off, personal data."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from charlm.text.cleaning.engine import apply_rule
from charlm.text.cleaning.html_tags import BLOCK, INLINE, OTHER
from charlm.text.cleaning.privacy import MANY_DIGITS, PRIVACY
from charlm.text.cleaning.rules import TextRule

PREFIX = "left over: "
"""Prefix of the names of these counts in `cleaning.tsv`."""

PERSONAL = {
    "emails": "email addresses",
    "phone_numbers": "phone numbers",
    "ip_addresses": "IP addresses",
    "credit_cards": "credit card numbers",
    "iban": "IBANs",
}
"""What the rules for personal data find."""

LEFT_OVER = (
    TextRule("character references", r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]{1,30});"),
    TextRule("tags of unknown elements", r"</[a-zA-Z][^<>\s]*>"),
    TextRule(
        "tags that are cut off",
        rf"(?i)<(?:!--[^<>]*|/[a-z]*|(?:{BLOCK}|{INLINE}|{OTHER})\s[^<>=]*=[^<>]*)\z",
    ),
    TextRule("spreadsheet escapes", "_x[0-9A-Fa-f]{4}_"),
    TextRule("terminal escapes", r"\x1b|\[[0-9]{1,3}(?:;[0-9]{1,3})*m"),
    TextRule("replacement characters", r"[\x{fffc}\x{fffd}]", beyond_ascii=True),
    # UTF-8 that was read as Windows-1252: the first bytes of common signs, and accented letters.
    TextRule(
        "mojibake",
        r"â€|ðŸ|ï»¿|[ÂÃÐÑ][\x{80}-\x{aa}\x{ac}-\x{ba}\x{bc}-\x{bf}€‚ƒ„†‡ˆ‰Š‹ŒŽ•˜™š›œžŸ]",
        beyond_ascii=True,
    ),
    *(replace(PRIVACY[rule], name=name) for rule, name in PERSONAL.items()),
)


def count_left_over(texts: pa.Array) -> npt.NDArray[np.int64]:
    """Return the numbers of matches and of documents of each rule, shape (rules, 2)."""
    texts = texts.cast(pa.large_string())
    other = texts.filter(pc.invert(pc.string_is_ascii(texts)))
    numbers = texts.filter(pc.match_substring_regex(texts, MANY_DIGITS))

    def counts(rule: TextRule) -> npt.NDArray[np.int64]:
        some = other if rule.beyond_ascii else numbers if rule.needs == MANY_DIGITS else texts
        return apply_rule(rule, some)[1]

    return np.array([counts(rule) for rule in LEFT_OVER])[:, [0, 2]]
