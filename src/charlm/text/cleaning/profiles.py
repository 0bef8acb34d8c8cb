"""The profiles: lists of rules that a configuration selects and extends."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from charlm.errors import CharlmError
from charlm.text.cleaning.engine import check_rule
from charlm.text.cleaning.rules import BUILTINS, DOCUMENT_RULES, DocumentRule, Rule

# The notebook's code as RE2, whose \S is ASCII only: a link ends at what Python's str.isspace()
# counts as white space.
PYTHON_SPACE = (
    r"\s\x0b\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)

NOTEBOOK = (
    Rule("tags", r"<[^>\n]*>"),
    Rule("links", rf"http[^{PYTHON_SPACE}]+", " "),
    Rule("nbsp", "&nbsp"),
    Rule("semicolons", ";", " "),
    Rule("colons", ":", " "),
    Rule(
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

# A quoted value may contain ">"; an apostrophe that opens no value is skipped. No tag extends
# beyond the next "<", so a search stops there and takes linear time.
ATTRIBUTES = r"""(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*)?>"""

SPACES = r"\t\v\f\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"

# A link ends before white space, quotation marks, scripts that use neither around it, and the
# punctuation of the sentence.
LINK_END = (
    rf'{PYTHON_SPACE}<>"“”„«»\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Hangul}}'
    r"\x{3001}-\x{303f}\x{ff00}-\x{ffef}"
)

LINK = rf"""[^{LINK_END}]*[^{LINK_END}.,;:!?()\[\]'’…*]"""

# Patterns that begin with a literal are the fastest, since RE2 searches for it first.
STANDARD = (
    Rule("comments", r"(?s)<!--.*?-->"),
    Rule("scripts", r"(?is)<script\b[^>]*>.*?</script\s*>", " "),
    Rule("styles", r"(?is)<style\b[^>]*>.*?</style\s*>", " "),
    Rule("block_tags", rf"(?i)</?(?:{BLOCK_TAGS}){ATTRIBUTES}", "\n"),
    Rule("inline_tags", rf"(?i)</?(?:{INLINE_TAGS}){ATTRIBUTES}"),
    Rule("other_tags", rf"(?i)</?[a-z][^\s/<>]*{ATTRIBUTES}|<[!?][a-z\[][^<>]*>", " "),
    # Decoded references are text like the rest: `&#x2F;` in links, `&#13;`.
    BUILTINS["entities"],
    Rule("links", rf"(?i)https?://{LINK}", " "),
    Rule("bare_links", rf"(?i)www\.{LINK}", " "),
    Rule("line_ends", r"\r\n?", "\n"),
    Rule("control_characters", r"[\x00-\x08\x0e-\x1f\x7f]+"),
    BUILTINS["emoji"],
    BUILTINS["joiners"],
    BUILTINS["windows_1252"],
    Rule("line_separators", r"[\x{2028}\x{2029}]", "\n", beyond_ascii=True),
    Rule(
        "invisible",
        r"[\x{80}-\x{9f}\x{ad}\x{61c}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}"
        r"\x{fe0e}\x{fe0f}\x{feff}\x{fff9}-\x{fffb}\x{e0001}\x{e0020}-\x{e007f}]+",
        beyond_ascii=True,
    ),
    BUILTINS["nfc"],  # after every rule that may join a letter and its mark
    Rule("spaces", rf"[ {SPACES}]{{2,}}|[{SPACES}]", " "),
    Rule("trailing_spaces", r" \n", "\n"),
    Rule("leading_spaces", r"\n ", "\n"),
    Rule("blank_lines", r"\n\n\n+", "\n\n"),
    Rule("start", r"\A\s+"),
    Rule("end", r"\s+\z"),
    DocumentRule("empty_documents", "empty_documents"),
    DocumentRule("duplicates", "duplicates"),
)

PROFILES: dict[str, tuple[Rule | DocumentRule, ...]] = {
    "none": (),
    "notebook": NOTEBOOK,
    "standard": STANDARD,
}


def rules_of(
    profile: str, rules: Sequence[Mapping[str, str]] = ()
) -> tuple[list[Rule], list[DocumentRule]]:
    """Return the rules of a profile, replaced and extended by those of the user.

    The first list changes texts, the second drops documents; each keeps its order.

    Raises:
        CharlmError: There is no such profile or built-in, or the engine rejects a pattern.
    """
    if profile not in PROFILES:
        raise CharlmError(f"cleaning.profile: {profile!r} is not one of {', '.join(PROFILES)}")
    named = {rule.name: rule for rule in PROFILES[profile]}
    rule: Rule | DocumentRule
    for entry in rules:
        name = entry["name"]
        builtin = entry.get("builtin")
        if builtin is None:
            rule = Rule(name, entry["pattern"], entry.get("replacement", ""))
        elif builtin in DOCUMENT_RULES:
            rule = DocumentRule(name, builtin)
        elif builtin in BUILTINS:
            rule = replace(BUILTINS[builtin], name=name)
        else:
            raise CharlmError(
                f"cleaning.rules: rule {name!r}: there is no built-in {builtin!r}; "
                f"there is {', '.join([*BUILTINS, *DOCUMENT_RULES])}"
            )
        if isinstance(rule, Rule):
            check_rule(rule)
        named[name] = rule
    return (
        [rule for rule in named.values() if isinstance(rule, Rule)],
        [rule for rule in named.values() if isinstance(rule, DocumentRule)],
    )
