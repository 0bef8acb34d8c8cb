"""The profiles: lists of rules that a configuration selects and extends."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Required, TypedDict

from charlm.errors import CharlmError
from charlm.text.cleaning import html_tags, links
from charlm.text.cleaning.engine import check_rule
from charlm.text.cleaning.privacy import PRIVACY
from charlm.text.cleaning.rules import BUILTINS, DOCUMENT_RULES, DocumentRule, TextRule

NOTEBOOK = (
    TextRule("tags", r"<[^>\n]*>"),
    TextRule("links", rf"http[^{links.PYTHON_SPACE}]+", " "),
    TextRule("nbsp", "&nbsp"),
    TextRule("semicolons", ";", " "),
    TextRule("colons", ":", " "),
    TextRule(
        "emoji",
        r"[\x{24C2}-\x{1F251}\x{10000}-\x{10FFFF}\x{2500}-\x{2BEF}"
        r"\x{200A}\x{200B}\x{200D}\x{2028}\x{231A}\x{23CF}\x{23E9}\x08]+",
    ),
)

SPACES = r"\t\v\f\x1c-\x1f\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"

# Patterns that begin with a literal are the fastest, since RE2 searches for it first.
STANDARD = (
    TextRule("comments", html_tags.COMMENT, one_pass=True),
    TextRule("cdata", html_tags.CDATA, r"\1", one_pass=True),
    TextRule("scripts", html_tags.element("script"), " ", one_pass=True),
    TextRule("styles", html_tags.element("style"), " ", one_pass=True),
    TextRule("declarations", html_tags.DECLARATION, " ", one_pass=True),
    TextRule("block_tags", html_tags.BLOCK_TAG, "\n", one_pass=True),
    TextRule("inline_tags", html_tags.INLINE_TAG, one_pass=True),
    TextRule("other_tags", html_tags.OTHER_TAG, " ", one_pass=True),
    # Decoded references are text like the rest: `&#x2F;` in links, `&#13;`.
    BUILTINS["entities"],
    TextRule("markdown_links", links.MARKDOWN_LINK, r"\1\2", needs=r"\]\("),
    TextRule("slack_links", links.SLACK_LINK, r"\1", needs="<[hHmM]"),
    TextRule("autolinks", links.AUTOLINK, " ", needs="<[hHmM]"),
    TextRule("links", links.LINK, " "),
    TextRule("bare_links", links.BARE_LINK, r"\1 ", needs=r"(?i)www\."),
    TextRule("line_ends", r"\r\n?", "\n"),
    TextRule("control_characters", r"[\x00-\x08\x0e-\x1b\x7f]+"),
    BUILTINS["emoji"],
    BUILTINS["joiners"],
    BUILTINS["windows_1252"],
    TextRule("line_separators", r"[\x{2028}\x{2029}]", "\n", beyond_ascii=True),
    TextRule(
        "invisible",
        r"[\x{80}-\x{9f}\x{ad}\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}"
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

Rule = TextRule | DocumentRule

PROFILES: dict[str, tuple[Rule, ...]] = {
    "none": (),
    "notebook": NOTEBOOK,
    "standard": STANDARD,
}


class RuleSettings(TypedDict, total=False):
    """A rule of the user: a `pattern` and its `replacement`, or the name of a `builtin`.

    Without either, `off` removes the rule of that name, and `before` moves it.
    """

    name: Required[str]
    pattern: str | None
    replacement: str
    builtin: str | None
    off: bool
    before: str | None


def rules_of(
    profile: str, rules: Sequence[RuleSettings] = ()
) -> tuple[list[TextRule], list[DocumentRule]]:
    """Return the rules of a profile, replaced, extended, moved and switched off by the user's.

    Returns:
        The rules that change texts and the rules that drop documents, each in order.

    Raises:
        CharlmError: A profile, a rule or a built-in is unknown, or the engine rejects a pattern.
    """
    if profile not in PROFILES:
        raise CharlmError(
            f"cleaning.profile: unknown profile {profile!r}; expected one of {', '.join(PROFILES)}"
        )
    named = {rule.name: rule for rule in PROFILES[profile]}
    for settings in rules:
        name, before = settings["name"], settings.get("before")
        if settings.get("off"):
            _check_name(name, name, named)
            del named[name]
            continue
        if settings.get("pattern") is None and settings.get("builtin") is None:
            _check_name(name, name, named)
            rule = named[name]
        else:
            rule = _user_rule(settings)
            if isinstance(rule, TextRule):
                check_rule(rule)
        if before is None:
            named[name] = rule
        else:
            named.pop(name, None)
            _check_name(name, before, named)
            named = _inserted(rule, before, named)
    return (
        [rule for rule in named.values() if isinstance(rule, TextRule)],
        [rule for rule in named.values() if isinstance(rule, DocumentRule)],
    )


def _check_name(rule: str, name: str, named: Mapping[str, Rule]) -> None:
    """Raise an error if a rule of the user refers to a `name` that no rule has."""
    if name not in named:
        near = difflib.get_close_matches(name, named, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(named)}"
        raise CharlmError(f"cleaning.rules: rule {rule!r}: no other rule is named {name!r}; {hint}")


def _inserted(rule: Rule, before: str, named: Mapping[str, Rule]) -> dict[str, Rule]:
    """Return the rules with one more, before another."""
    if isinstance(rule, TextRule) != isinstance(named[before], TextRule):
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: cannot go before {before!r}, since rules that "
            "drop documents come after all others; name another rule"
        )
    rules: list[Rule] = []
    for each in named.values():
        rules += [rule, each] if each.name == before else [each]
    return {each.name: each for each in rules}


def _user_rule(settings: RuleSettings) -> Rule:
    """Return a rule from its settings."""
    name, pattern, builtin = settings["name"], settings.get("pattern"), settings.get("builtin")
    if builtin is None:
        return TextRule(name, pattern or "", settings.get("replacement", ""))
    if builtin in DOCUMENT_RULES:
        return DocumentRule(name, builtin)
    builtins = BUILTINS | PRIVACY
    if builtin in builtins:
        return replace(builtins[builtin], name=name)
    raise CharlmError(
        f"cleaning.rules: rule {name!r}: unknown built-in {builtin!r}; "
        f"expected one of {', '.join([*builtins, *DOCUMENT_RULES])}"
    )
