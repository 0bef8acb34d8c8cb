"""What is a tag by the HTML standard is removed, as a real HTML parser does, and nothing else."""

import re
from pathlib import Path

import pytest
from benchmarks.html import descriptions, different, documentation, parsed, reviews, words
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.corpus import clean_texts, cleaned

DIFFERENCES = [
    # The element is unknown: more likely a name, a type, an address or a sign.
    ("<grin> and </SPOILER>", "<grin> and </SPOILER>", "and"),
    ("vector<int> v; <a@b.c> <your name>", "vector<int> v; <a@b.c> <your name>", "vector v;"),
    (
        "If <x> is the mean, <x^2> > <x>^2",
        "If <x> is the mean, <x^2> > <x>^2",
        "If is the mean, > ^2",
    ),
    ("<http://a.b/c>", "<http://a.b/c>", ""),
    # Words that are no attributes: more likely a formula.
    ("if a<b and c>d", "if a<b and c>d", "if ad"),
    ("<time and place>", "<time and place>", ""),
    # The name is a common word, and there are no attributes.
    ("<image> and <text>", "<image> and <text>", "and"),
    # Text between angle brackets that no author of HTML writes as a comment.
    ("I </3 you <3 and > you", "I </3 you <3 and > you", "I you"),
    ("<!here> all </> x", "<!here> all </> x", "all x"),
    # The text of CDATA is text; in HTML it is a comment.
    ("x <![CDATA[a <b>b</b>]]> y", "x a b y", "x b]]> y"),
    # Text is cut off, but what is left is kept.
    ("cut <!-- off", "cut <!-- off", "cut"),
    ("cut <a href='x", "cut <a href='x", "cut"),
    ("<script>let x", "let x", ""),
    # Elements that contain text only, for the parser.
    ("<textarea>a<b>c</b></textarea> <title>x<i>y</i></title>", "ac xy", "a<b>c</b> x<i>y</i>"),
]
"""Texts, their words here, and the parser's: the differences that are meant."""


@pytest.mark.parametrize(("text", "ours", "theirs"), DIFFERENCES)
def test_differences_to_the_parser_are_meant(text: str, ours: str, theirs: str) -> None:
    assert words([text]) == [ours.split()]
    assert parsed(text) == theirs.split()


def test_the_words_of_the_demo_are_the_parsers() -> None:
    others = different(reviews())
    meant = re.compile("<grin>|</SPOILER>|<sigh>|<sp[?]|</3|<http")
    assert [text for text in others if not meant.search(text)] == []
    assert len(others) == 6


UNKNOWN = re.compile("</?(?:note|important|fullname|ValueDef)>")
"""Tags of elements that HTML does not know, but a parser takes for tags."""


def test_the_words_of_documentation_are_the_parsers_but_for_unknown_elements() -> None:
    texts = documentation("s3*") + descriptions()
    assert len(texts) > 2000
    kept = [text for text in texts if UNKNOWN.search(text)]
    assert set(different(texts)) == set(kept)
    assert [UNKNOWN.sub(" ", " ".join(each)).split() for each in words(kept)] == [
        parsed(text) for text in kept
    ]


TAGS = st.sampled_from(
    [
        *("<p>", "</p>", "<br>", "<br/>", "<BR >", "<div class='a > b'>", "</div>", "<h1 id=x>"),
        *("</h1>", "<ul>", "<li>", "</li>", "</ul>", "<hr\n>", "<blockquote cite=x>"),
        *("<b>", "</b>", "<i >", "</i>", '<a href="x?a=1&b=2">', "</a>", "<span title='<p>'>"),
        *("</span>", "<em\n>", "</em >", "<font color=red size='2'>", "</font>", "<wbr>"),
        *("<img src=a.png alt='1 > 0'>", '<img alt="<b>x</b>"/>', "<input disabled value=x>"),
        *("<o:p>", "</o:p>", "<x-y z='1'>", "</x-y>", "<my-tag\tdata-a>", "</my-tag>"),
        *("<!-- note -->", "<!-- <b> > -->", "<!-->", "<!--->", "<!doctype html>", "<?xml a='b'?>"),
        *("<script>if (a<b) {'</p>'}</script>", "<style>p > a {}</style>", "<!-- a --!>"),
        *("<iframe src=x></iframe>", "<video controls></video>", "<svg width=1></svg>"),
    ]
)
WORDS = st.sampled_from(
    [
        *(
            "word",
            "two words",
            " ",
            "\n",
            "1 < 2",
            "2 > 1",
            "a &lt; b",
            "&amp;lt;b&gt;",
            "&eacute;",
        ),
        *("x<3", "< b >", "it's", '"', "=", "a=b", "&", "é", "漢字", "|", ";"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TAGS | WORDS, max_size=12).map("".join))
def test_the_text_of_generated_tag_soup_is_the_parsers(text: str) -> None:
    # Words may be divided elsewhere: the parser drops an end tag without a start tag.
    [ours] = words([text])
    assert "".join(ours) == "".join(parsed(text))


@pytest.mark.parametrize(
    "text",
    [
        "<font color=red<b>bold</b> tail",
        "<font size=2 color='red'<b>bold</b> tail",
        "see <a href=x<i>it</i> now",
    ],
)
def test_a_tag_that_another_one_interrupts_is_the_parsers(text: str) -> None:
    assert words([text]) == [parsed(text)]


@pytest.mark.parametrize(
    "text",
    [
        "We study walks with step size $a<b$ on the lattice. The bound holds whenever $c>d$.",
        *("For $0<x<1$ and $y>2$ it converges.", "Bra-ket <psi|H|psi>, <p|q>", "if x<s || y>t: z"),
        *(
            "Map<String, List<Int>> m; for (i=0; i<n; i++) a->b",
            "template <typename T> x",
            "#include <vector>",
        ),
        *(
            "<nick> hi, <@U123>, <#C1|general>, <:smile:12>",
            "p<q.r>s i<p&&q>r",
            "a <- b -> c <= d >= e <> f",
        ),
        *("<email@example.org> wrote:", "a<sub and b>c", "1 <2> 3, n<i+1 and j>k"),
    ],
)
def test_mathematics_code_and_names_stay(text: str) -> None:
    assert cleaned([text]) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<![CDATA[<p>Post <b>one</b></p>]]>", "Post one"),
        ("before <![CDATA[middle]]> after <![CDATA[a > b]]>", "before middle after a > b"),
        ("x<![CDATA[cut <b>off", "xcut off"),
        ("a[b[0]]>c", "a[b[0]]>c"),
        ("<svg><path d='M0'/><g id=x><text x=1>label</text></g></svg>", "label"),
        ("<math><mi>x</mi><mo>+</mo></math>", "x +"),
    ],
)
def test_data_and_drawings_keep_their_text(text: str, expected: str) -> None:
    assert cleaned([text]) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<b>i>x", "<i>x"),
        ("<scr<b>ipt>x</scr</b>ipt>", "<script>x</script>"),
        ("<<!-- -->b>x", "<b>x"),
        ("&l<b>t;", "&lt;"),
        ("<a b=c <br>d='e'>f</a>", "<a b=c\nd='e'>f"),
        ("\x01<<b>\x02i>x", "<i>x"),
    ],
)
def test_what_a_removal_brings_together_is_no_tag(text: str, expected: str) -> None:
    assert cleaned([text], rules=[{"name": "entities", "pattern": "&never;"}]) == [expected]


def test_marks_are_not_counted(tmp_path: Path) -> None:
    _, summary = clean_texts(tmp_path, ["a<br>b<b>c</b>\x01", "<![CDATA[<p>x]]>"])
    assert summary["block_tags"] == [2, 5, 2]
    assert summary["inline_tags"] == [2, 7, 1]
    assert summary["cdata"] == [1, 12, 1]
    assert summary["control_characters"] == [1, 1, 1]
