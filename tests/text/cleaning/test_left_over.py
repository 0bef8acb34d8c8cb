"""What is left over after cleaning is counted, and can be fixed by built-ins."""

from pathlib import Path

import pytest

from charlm.text.cleaning.left_over import PREFIX
from tests.text.corpus import clean_texts, cleaned


def left_over(folder: Path, texts: list[str], profile: str = "standard") -> dict[str, list[int]]:
    """Return the matches and documents of all that is left over."""
    _, summary = clean_texts(folder, [*texts, *(f"text {n}" for n in range(20))], profile)
    rows = {name.removeprefix(PREFIX): row for name, row in summary.items() if PREFIX in name}
    return {name: [matches, documents] for name, (matches, _, documents) in rows.items() if matches}


@pytest.mark.parametrize(
    ("texts", "name", "counts"),
    [
        (["a &amp;lt; b &amp;#39;", "&amp;eacute;"], "character references", [3, 2]),
        (["a_x000D_b_x000d_", "_x12_ _x000D"], "spreadsheet escapes", [2, 1]),
        (["\ufffc\ufffd", "é\ufffc"], "replacement characters", [3, 2]),
        (["x <a href='y", "x <!-- y", "x </di", "x <", "x<b"], "tags that are cut off", [3, 3]),
        (["<nick> </nick></nick>"], "tags of unknown elements", [2, 1]),
        (["\x1b[31mred\x1b[0m", "[1;31mx [a]m [m"], "terminal escapes", [3, 2]),
        (["cafÃ© donâ€™t", "NÃO Ñandú ÂNGELO Âge"], "mojibake", [2, 1]),
    ],
)
def test_what_is_left_over_is_counted(
    tmp_path: Path, texts: list[str], name: str, counts: list[int]
) -> None:
    assert left_over(tmp_path, texts) == {name: counts}


def test_plain_text_has_nothing_left_over(tmp_path: Path) -> None:
    assert left_over(tmp_path, ["a & b; x < y [3] é漢", "_x_ AT&T"]) == {}
    assert left_over(tmp_path, ["&lt;"], "none") == {"character references": [1, 1]}


def test_builtins_fix_what_is_left_over() -> None:
    assert cleaned(["&amp;lt;", "x"], rules=[{"name": "again", "builtin": "entities"}]) == [
        "<",
        "x",
    ]
    fix = cleaned(["cafÃ© donâ€™t", "fine\n\n"], "none", [{"name": "fix", "builtin": "fix_text"}])
    assert fix == ["café don't", "fine\n\n"]
