"""Links are removed; their labels, and the text around them, stay."""

import pytest

from tests.text.corpus import cleaned


@pytest.mark.parametrize(
    "text",
    [
        *("awww...so cute", "Ewww.That is gross", "awwww. Sweet", "wwww.example", "www...", "www."),
        *("éwww.example.org", "яwww.example.org", "www.That is it", "_www.example.org"),
        *("f(x) [1] [a](b) a[i](x)", "|a|b| http:// https:/ mailto: me"),
    ],
)
def test_what_is_no_link_stays(text: str) -> None:
    assert cleaned([text]) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see www.example.org/page for it", "see for it"),
        ("WWW.EXAMPLE.ORG. end.www.example.org/", ". end."),
        ("中www.example.org", "中www.example.org"),
        ("http://a.b/c[1]?d[]=e(f) x", "x"),
        ("http://a.b, http://a.b) http://a.b] http://a.b'", ", ) ] '"),
        ("see <http://a.b/c> or <mailto:a@b.c>", "see or"),
        # Markdown, Slack and BBCode
        ("[label](http://a.b/c)more", "labelmore"),
        ("[one](http://a.b),[two](https://c.d/e_(f) 'title') ![three](www.g.h)", "one,two three"),
        ("[![image](http://a.b/c.png)](http://a.b) x", "image x"),
        ("[](http://a.b)", "[]( )"),
        ("ask <https://a.b/c?d=e|our page>, <mailto:a@b.c|Ann>", "ask our page, Ann"),
        ("[url=http://a.b]label[/url] [url]http://a.b[/url]", "[url= ]label[/url] [url] [/url]"),
        # scripts and signs that end a link
        ("http://a.b/cไทย http://a.bລາວ http://a.bខ្មែរ http://a.bမြန်မာ", "ไทย ລາວ ខ្មែរ မြန်မာ"),
        ("http://a.b/c—then http://a.b…more", "—then …more"),
        ("http://a.b/c😀so http://a.b❤so", "so so"),
        ("http://a.bカー", "カー"),
        ("http://a.b/Michelson–Morley http://пример.рф/путь", ""),
    ],
)
def test_links_are_removed_and_labels_stay(text: str, expected: str) -> None:
    assert cleaned([text]) == [expected]
