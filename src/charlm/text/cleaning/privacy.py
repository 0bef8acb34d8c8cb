"""Rules that replace personal data by placeholders. Profiles leave them out."""

import ipaddress
import re
from collections.abc import Callable

from charlm.text.cleaning.rules import Builtin, TextRule

# Every repetition in these patterns is bounded, so that a search takes linear time.
_PHONE = re.compile(
    r"(?<![\w.,+/-])"
    # international; North American; with the 0 of trunk calls
    r"(?:(?:\+|00)[1-9](?:[ ()./\xa0-]{0,3}\d){6,13}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .\xa0-])\d{3}[ .\xa0-]\d{4}"
    r"|\(?0\d{1,5}\)?(?:[ /.\xa0-]{1,3}\d{2,11}){1,5})"
    r"(?![\w/-]|[.,:]\d)"
)
_DATE = re.compile(r"\d{1,2}[ ./-]{1,2}\d{1,2}[ ./-]{1,2}\d{2,4}")

_IP = re.compile(
    r"(?<![\w:.])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)"
    r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.\d{1,3}){0,3}(?![\w:]|\.\d))"
)

_CARD = re.compile(r"(?<![\w.+-])[2-6](?:[ -]?\d){12,18}(?![\w-]|\.\d)")

_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ \xa0]?[A-Z0-9]){11,30}")


def _replace(pattern: re.Pattern[str], placeholder: str, length: Callable[[str], int]) -> Builtin:
    """Return a built-in that replaces the first `length(match)` characters of each match."""

    def builtin(text: str) -> tuple[str, int]:
        found = 0

        def replacement(match: re.Match[str]) -> str:
            nonlocal found
            end = length(match[0])
            found += end > 0
            return placeholder + match[0][end:] if end else match[0]

        return pattern.sub(replacement, text), found

    return builtin


def _phone(text: str) -> int:
    digits = sum(map(str.isdigit, text))
    return len(text) if 7 <= digits <= 15 and not _DATE.fullmatch(text) else 0


def _ip(text: str) -> int:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0
    # Names in programs look like addresses, too: `Face::Add`.
    return len(text) if any(map(str.isdigit, text)) else 0


def _card(text: str) -> int:
    """Check the last digit of a number by Luhn's algorithm (ISO/IEC 7812)."""
    digits = [int(digit) for digit in text if digit.isdigit()][::-1]
    total = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return 0 if total % 10 else len(text)


def _iban(text: str) -> int:
    """Return the length of the longest prefix with correct check digits (ISO 13616).

    The text may go on with a word in capitals.
    """
    for end in range(len(text), 14, -1):
        inner = re.sub(r"\W", "", text[:end])
        whole = text[end : end + 1] in ("", " ", "\xa0") and text[end - 1].isalnum()
        if whole and int("".join(str(int(sign, 36)) for sign in inner[4:] + inner[:4])) % 97 == 1:
            return end
    return 0


# Letters of names in addresses. RE2 takes milliseconds to compile \p{L}.
_LETTER = r"A-Za-z0-9_\x{c0}-\x{24f}"

MANY_DIGITS = r"[0-9](?:[ ()./\x{a0}-]{0,3}[0-9]){4}"
"""What every number of a phone, card or account contains."""

PRIVACY = {
    "emails": TextRule(
        "emails",
        rf"[{_LETTER}][{_LETTER}.%+'-]*@(?:[{_LETTER}][{_LETTER}-]*\.)+[A-Za-z]{{2,}}",
        "[email]",
        needs="@",
    ),
    "iban": TextRule(
        "iban",
        r"[A-Z]{2}[0-9]{2}[ \x{a0}]?[A-Z0-9]{2}",
        builtin=_replace(_IBAN, "[iban]", _iban),
        needs=MANY_DIGITS,
    ),
    "credit_cards": TextRule(
        "credit_cards",
        r"[2-6](?:[ -]?[0-9]){12}",
        builtin=_replace(_CARD, "[card]", _card),
        needs=MANY_DIGITS,
    ),
    "ip_addresses": TextRule(
        "ip_addresses",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:",
        builtin=_replace(_IP, "[ip]", _ip),
        needs=r"[0-9]\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:",
    ),
    "phone_numbers": TextRule(
        "phone_numbers",
        r"[0-9](?:[ ()./\x{a0}-]{0,3}[0-9]){6}",
        builtin=_replace(_PHONE, "[phone]", _phone),
        needs=MANY_DIGITS,
    ),
}
"""The built-in rules, in the order in which they are best applied."""
