"""Patterns for tags, comments and other markup, by the HTML standard.

Unlike a browser, they match a tag only if its element is known and its attributes look like
attributes, so that `a<b and c>d`, `vector<int>` and `<your name>` stay. No match starts at one
`<` and looks beyond more than a few others, so a search takes linear time.
"""

BLOCK = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|frameset|h[1-6]|head|header|hgroup|hr|html|legend|li|"
    "main|menu|nav|noscript|ol|optgroup|option|p|pre|search|section|select|summary|table|tbody|"
    "textarea|tfoot|thead|title|tr|ul"
)

INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|q|rb|"
    "rp|rt|rtc|ruby|s|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr"
)

OTHER = (
    "applet|area|audio|base|basefont|bgsound|blink|button|canvas|col|colgroup|datalist|embed|frame|"
    "iframe|img|input|isindex|keygen|link|listing|map|marquee|menuitem|meta|meter|multicol|nextid|"
    "noembed|noframes|object|output|param|picture|plaintext|progress|script|selectedcontent|slot|"
    "source|spacer|style|td|template|th|track|video|xmp|"
    # SVG and MathML
    "svg|animatemotion|animatetransform|clippath|defs|ellipse|fe[a-z]{4,17}|foreignobject|"
    "lineargradient|mpath|polygon|polyline|radialgradient|rect|textpath|tspan|"
    "math|annotation|maction|menclose|merror|mfenced|mfrac|mi|mmultiscripts|mn|mo|mover|mpadded|"
    "mphantom|mprescripts|mroot|mrow|ms|mspace|msqrt|mstyle|msub|msubsup|msup|mtable|mtd|mtext|"
    "mtr|munder|munderover|semantics|"
    # custom elements, and prefixes as in <o:p>
    r"[a-z][a-z0-9._]*-[a-z0-9._-]*|[a-z][a-z0-9_-]*:[a-z][a-z0-9._-]*"
)

# Elements whose names are also common words or symbols: `<image>`, `<g>`.
WORDS = (
    "animate|circle|desc|filter|g|image|line|marker|mask|metadata|path|pattern|set|stop|switch|"
    "symbol|text|use|view"
)

BOOLEAN = (
    "allowfullscreen|async|autofocus|autoplay|checked|compact|contenteditable|controls|default|"
    "defer|disabled|download|formnovalidate|hidden|inert|ismap|itemscope|loop|multiple|muted|"
    "nohref|nomodule|noresize|noshade|novalidate|nowrap|open|playsinline|readonly|required|"
    r"reversed|selected|data-[\w-]+"
)

MARKS = "\x01\x02\x03\x04\x05\x06\x07\x08"
"""Characters that may stand for removed text while rules are applied in one pass."""

# A quoted value may contain ">". One that contains "<" costs another scan, so there are few. If
# another tag begins before the ">", it is part of the value or of a name.
_VALUE = r"""=\s*"[^"<]*"|=\s*'[^'<]*'"""
_VALUE_WITH_TAGS = (
    r"""=\s*"[^"<]*(?:<[^"<]*){1,8}"|=\s*'[^'<]*(?:<[^'<]*){1,8}'"""
    r"""|=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=]+)<[a-z][a-z0-9]*"""
)
_MORE = rf"""(?:{_VALUE}|[^<>\x01-\x08])*"""
_FIRST = rf"""[^\s<>"'=/\x01-\x08]+\s*(?:{_VALUE}|{_VALUE_WITH_TAGS}|=)"""
_ATTRIBUTES = (
    rf"[\s/]+(?:(?:{BOOLEAN})[\s/]+)*{_FIRST}{_MORE}(?:(?:{_VALUE_WITH_TAGS}){_MORE}){{0,2}}>"
)
_NO_VALUES = rf"(?:[\s/]+(?:{BOOLEAN}))*[\s/]*>"

COMMENT = r"(?s)<!--(?:-?>|.*?--!?>)"
CDATA = r"(?s)<!\[CDATA\[(.*?)(?:\]\]>|\z)"
DECLARATION = (
    r"(?i)<(?:\?[a-z]|!(?:doctype|element|attlist|entity|notation)\b|!\[(?:if|endif)\b)[^<>]*>"
)


def tag(names: str) -> str:
    """Return the pattern of the start and end tags of elements: `br|h[1-6]`."""
    return rf"(?i)</?(?:{names})(?:{_NO_VALUES}|{_ATTRIBUTES})"


def element(name: str) -> str:
    """Return the pattern of an element with its content."""
    return rf"(?is)<{name}(?:[\s/][^>]*)?>.*?</{name}\s*>"


BLOCK_TAG = tag(BLOCK)
INLINE_TAG = tag(INLINE)
OTHER_TAG = (
    rf"(?i)<(?:/?(?:{OTHER})(?:{_NO_VALUES}|{_ATTRIBUTES})"
    rf"|(?:{WORDS})(?:\s*/>|{_ATTRIBUTES})|/(?:{WORDS})\s*>)"
)
