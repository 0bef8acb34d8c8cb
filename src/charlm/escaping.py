"""Text from files that others made, written so that a terminal, a table or a page shows it as is."""

import unicodedata

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
