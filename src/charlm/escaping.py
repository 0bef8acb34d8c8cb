"""Escapes that make text from untrusted files safe to show in a terminal, a table or a page."""

import json
import unicodedata
from collections.abc import Mapping

INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of characters that move the cursor, reorder text or cannot be encoded."""

FORMULA = tuple("=+-@\t\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


def printable(text: object, keep: str = "") -> str:
    r"""Return a text with escapes for characters that are invisible or control a terminal.

    Args:
        text: The text, a path or an error.
        keep: Characters to leave unchanged.

    >>> printable("safe\r\x1b[2J")
    'safe\\r\\x1b[2J'
    """
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in INVISIBLE
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in str(text)
    )


JOINERS = "\u200c\u200d"
"""Invisible characters that shape others, as in emoji and Persian."""


def terminal_text(text: object) -> str:
    """Return text of many lines as a terminal may show it; see `printable`."""
    return printable(text, keep=f"\n\t{JOINERS}")


def error_line(error: object) -> str:
    """Return an error's message on one line that a terminal may show; see `printable`."""
    return printable(error, keep=JOINERS)


def json_text(content: Mapping[str, object], indent: int | None = None) -> str:
    r"""Return content as JSON with escapes for what `terminal_text` escapes.

    >>> json_text({"text": "é\x9b\u202e"})
    '{"text": "é\\u009b\\u202e"}'
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return "".join(
        character
        if character in f"\n{JOINERS}" or unicodedata.category(character) not in INVISIBLE
        else "".join(map("\\u{:04x}".format, _code_units(character)))
        for character in text
    )


def _code_units(character: str) -> memoryview:
    """Return the UTF-16 code units of a character."""
    return memoryview(character.encode("utf-16", "surrogatepass")).cast("H")[1:]


def cell(text: str) -> str:
    """Return a text as a cell of a CSV or TSV file that a spreadsheet does not take for a formula.

    >>> cell("=1+1"), cell("links")
    ("'=1+1", 'links')
    """
    return f"'{printable(text)}" if text.startswith(FORMULA) else printable(text)
