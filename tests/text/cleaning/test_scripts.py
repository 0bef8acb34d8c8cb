"""Words of any script stay apart, and stay whole."""

import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.corpus import cleaned

SPACED = (
    *("Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic", "Syriac", "Nko"),
    *("Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Tamil", "Telugu", "Kannada", "Malayalam"),
    *("Sinhala", "Hangul", "Ethiopic", "Cherokee", "Mongolian", "Thaana", "Oriya"),
)
UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Bopomofo")
JOINING = (
    *("Arabic", "Syriac", "Nko", "Mongolian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati"),
    *("Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala"),
)


EVERYTHING = "".join(map(chr, range(0x11000)))


def in_script(script: str) -> list[str]:
    """Return the letters, marks and digits that are used in a script, shared ones included."""
    kinds = r"[\p{L}\p{Mn}\p{Mc}\p{Nd}]"
    return regex.findall(rf"[\p{{scx={script}}}&&{kinds}]", EVERYTHING, regex.V1)


CHARACTERS = {script: in_script(script) for script in {*SPACED, *UNSPACED}}
LETTERS = {
    script: [char for char in chars if char.isalpha()] for script, chars in CHARACTERS.items()
}

GAPS = [" ", "\u00a0", "\u2003", "\u3000", "\t", "\n", "\r\n", "\v", "\u2028", "\x1f", "\x1e"]
GAPS += ["<br>", "</p><p>", " http://a.b ", "😀", "\u200b😀", "👍🏽\u200b👍", "❤️\u200d🔥", "<hr>"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*SPACED, *UNSPACED]), st.data())
def test_words_do_not_run_together(script: str, data: st.DataObject) -> None:
    gaps = GAPS if script in SPACED else [gap for gap in GAPS if not regex.search(r"[😀👍❤]", gap)]
    word = st.lists(st.sampled_from(CHARACTERS[script]), min_size=1, max_size=5).map("".join)
    one, other = data.draw(word), data.draw(st.sampled_from(LETTERS[script])) + data.draw(word)
    gap = data.draw(st.sampled_from(gaps))
    together, *alone = cleaned([f"{one}{gap}{other}", one, other])
    assert together.split() == alone


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(JOINING), st.data())
def test_a_joiner_stays_beside_any_character_of_a_script_that_uses_it(
    script: str, data: st.DataObject
) -> None:
    char = data.draw(st.sampled_from(CHARACTERS[script]))
    joiner = data.draw(st.sampled_from("\u200c\u200d"))
    assert all(joiner in text for text in cleaned([f"{char}{joiner}x", f"x{joiner}{char}"]))
