"""The profiles: lists of rules that a configuration selects and extends."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Required, TypedDict

from charlm.errors import CharlmError
from charlm.text.cleaning.engine import check_rule
from charlm.text.cleaning.rules import BUILTINS, DOCUMENT_RULES, DocumentRule, TextRule

# White space according to Python's str.isspace(), at which a link ends in the notebook. RE2's \s is
# ASCII only.
PYTHON_SPACE = (
    r"\s\x0b\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)

NOTEBOOK = (
    TextRule("tags", r"<[^>\n]*>"),
    TextRule("links", rf"http[^{PYTHON_SPACE}]+", " "),
    TextRule("nbsp", "&nbsp"),
    TextRule("semicolons", ";", " "),
    TextRule("colons", ":", " "),
    TextRule(
        "emoji",
        r"[\x{24C2}-\x{1F251}\x{10000}-\x{10FFFF}\x{2500}-\x{2BEF}"
        r"\x{200A}\x{200B}\x{200D}\x{2028}\x{231A}\x{23CF}\x{23E9}\x08]+",
    ),
)

BLOCK_TAGS = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|frameset|h[1-6]|head|header|hgroup|hr|html|legend|li|"
    "main|menu|nav|noscript|ol|optgroup|option|p|pre|search|section|select|summary|table|tbody|"
    "textarea|tfoot|thead|title|tr|ul"
)

INLINE_TAGS = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|q|rb|"
    "rp|rt|rtc|ruby|s|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr"
)

# A quoted value may contain ">", and an apostrophe may occur outside of a value. A tag ends before
# the next "<", so that a search takes linear time.
ATTRIBUTES = r"""(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*)?>"""

SPACES = r"\t\v\f\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"

# A link ends before white space, quotation marks, scripts that are written without spaces, and
# the punctuation of the sentence.
LINK_END = (
    rf'{PYTHON_SPACE}<>"“”„«»\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Hangul}}'
    r"\x{3001}-\x{303f}\x{ff00}-\x{ffef}"
)

LINK = rf"""[^{LINK_END}]*[^{LINK_END}.,;:!?()\[\]'’…*]"""

# Patterns that begin with a literal are the fastest, since RE2 searches for it first.
STANDARD = (
    TextRule("comments", r"(?s)<!--.*?-->"),
    TextRule("scripts", r"(?is)<script\b[^>]*>.*?</script\s*>", " "),
    TextRule("styles", r"(?is)<style\b[^>]*>.*?</style\s*>", " "),
    TextRule("block_tags", rf"(?i)</?(?:{BLOCK_TAGS}){ATTRIBUTES}", "\n"),
    TextRule("inline_tags", rf"(?i)</?(?:{INLINE_TAGS}){ATTRIBUTES}"),
    TextRule("other_tags", rf"(?i)</?[a-z][^\s/<>]*{ATTRIBUTES}|<[!?][a-z\[][^<>]*>", " "),
    # Decoded references are text like the rest: `&#x2F;` in links, `&#13;`.
    BUILTINS["entities"],
    TextRule("links", rf"(?i)https?://{LINK}", " "),
    TextRule("bare_links", rf"(?i)www\.{LINK}", " "),
    TextRule("line_ends", r"\r\n?", "\n"),
    TextRule("control_characters", r"[\x00-\x08\x0e-\x1f\x7f]+"),
    BUILTINS["emoji"],
    BUILTINS["joiners"],
    BUILTINS["windows_1252"],
    TextRule("line_separators", r"[\x{2028}\x{2029}]", "\n", beyond_ascii=True),
    TextRule(
        "invisible",
        r"[\x{80}-\x{9f}\x{ad}\x{61c}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}"
        r"\x{fe0e}\x{fe0f}\x{feff}\x{fff9}-\x{fffb}\x{e0001}\x{e0020}-\x{e007f}]+",
        beyond_ascii=True,
    ),
    BUILTINS["nfc"],  # after every rule that may join a letter and its mark
    TextRule("spaces", rf"[ {SPACES}]{{2,}}|[{SPACES}]", " "),
    TextRule("trailing_spaces", r" \n", "\n"),
    TextRule("leading_spaces", r"\n ", "\n"),
    TextRule("blank_lines", r"\n\n\n+", "\n\n"),
    TextRule("start", r"\A\s+"),
    TextRule("end", r"\s+\z"),
    DocumentRule("empty_documents", "empty_documents"),
    DocumentRule("duplicates", "duplicates"),
)

PROFILES: dict[str, tuple[TextRule | DocumentRule, ...]] = {
    "none": (),
    "notebook": NOTEBOOK,
    "standard": STANDARD,
}


class RuleSettings(TypedDict, total=False):
    """A rule of the user: a `pattern` and its `replacement`, or the name of a `builtin`."""

    name: Required[str]
    pattern: str | None
    replacement: str
    builtin: str | None


def rules_of(
    profile: str, rules: Sequence[RuleSettings] = ()
) -> tuple[list[TextRule], list[DocumentRule]]:
    """Return the rules of a profile, replaced and extended by the user's.

    Returns:
        The rules that change texts and the rules that drop documents, each in order.

    Raises:
        CharlmError: A profile or a built-in is unknown, or the engine rejects a pattern.
    """
    if profile not in PROFILES:
        raise CharlmError(
            f"cleaning.profile: unknown profile {profile!r}; expected one of {', '.join(PROFILES)}"
        )
    named = {rule.name: rule for rule in PROFILES[profile]}
    for settings in rules:
        rule = _user_rule(settings)
        if isinstance(rule, TextRule):
            check_rule(rule)
        named[rule.name] = rule
    return (
        [rule for rule in named.values() if isinstance(rule, TextRule)],
        [rule for rule in named.values() if isinstance(rule, DocumentRule)],
    )


def _user_rule(settings: RuleSettings) -> TextRule | DocumentRule:
    """Return a rule from its settings."""
    name, pattern, builtin = settings["name"], settings.get("pattern"), settings.get("builtin")
    if builtin is None:
        assert pattern is not None  # the configuration's schema demands one of the two
        return TextRule(name, pattern, settings.get("replacement", ""))
    if builtin in DOCUMENT_RULES:
        return DocumentRule(name, builtin)
    if builtin in BUILTINS:
        return replace(BUILTINS[builtin], name=name)
    raise CharlmError(
        f"cleaning.rules: rule {name!r}: unknown built-in {builtin!r}; "
        f"expected one of {', '.join([*BUILTINS, *DOCUMENT_RULES])}"
    )
