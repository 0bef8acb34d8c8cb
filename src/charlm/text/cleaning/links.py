"""Patterns for links in text, HTML, Markdown and chats."""

# White space according to Python's str.isspace(), at which a link ends in the notebook. RE2's \s is
# ASCII only.
PYTHON_SPACE = (
    r"\s\x0b\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)

# What does not occur within a link unless encoded: white space, quotation marks, long dashes,
# emoji, and letters of scripts that are written without spaces.
_END = (
    rf'{PYTHON_SPACE}<>"“”„«»—―…|'
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}\p{Yi}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\x{200b}\x{3001}-\x{303f}\x{30fb}\x{30fc}\x{ff00}-\x{ffef}"
    r"\x{231a}\x{231b}\x{23e9}-\x{23f3}\x{2600}-\x{27bf}\x{2b05}-\x{2b55}\x{1f000}-\x{1faff}"
)
_INNER = rf"[^{_END}()\[\]]"
_LAST = rf"[^{_END}()\[\].,;:!?'’*]"

# Brackets belong to a link in pairs, but `[/url]` ends one.
_PAIR = rf"\({_INNER}*\)|\[(?:[^{_END}()\[\]/]{_INNER}*)?\]"

_REST = rf"(?:(?:{_INNER}|{_PAIR})*(?:{_LAST}|{_PAIR}))"

LINK = rf"(?i:https?)://{_REST}"

# A host has a dot after "www.", other than in "www...".
BARE_LINK = rf"(^|[^\p{{L}}\p{{M}}\p{{N}}_])(?i:www)\.[\p{{L}}\p{{N}}_-]+\.[\p{{L}}\p{{N}}]{_REST}?"

_TARGET = r"<?(?:https?://|www\.|mailto:)[^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*>?"
_TITLE = r"""(?:\s+(?:"[^"\n]*"|'[^'\n]*'))?"""
_END_OF_TARGET = rf"\]\({_TARGET}{_TITLE}\s*\)"

# [label](link), ![label](link) and [![label](image)](link)
MARKDOWN_LINK = (
    rf"(?i)!?\[([^\[\]\n]+){_END_OF_TARGET}"
    rf"|\[!\[([^\[\]\n]+)\]\([^\s()<>]*{_TITLE}\){_END_OF_TARGET}"
)

# <link|label>
SLACK_LINK = r"(?i)<(?:https?://|mailto:)[^\s<>|]*\|([^<>\n]+)>"

AUTOLINK = r"(?i)<(?:https?://|mailto:)[^\s<>]*>"
