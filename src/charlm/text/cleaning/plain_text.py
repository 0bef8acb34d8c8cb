"""Stage `plain_text`: the clean corpus as one text file."""

from pathlib import Path

from charlm.text.tables import output, row_groups


def write_plain_text(corpus: str | Path, path: str | Path, *, separator: str) -> None:
    """Write all documents of a corpus as one text, joined by `separator`."""
    joint = ""  # before the first document
    with output(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for table in row_groups(corpus, ["text", "continues"]):
            texts, continues = table["text"].to_pylist(), table["continues"].to_pylist()
            for text, is_cut in zip(texts, continues, strict=True):
                file.write(joint + text)
                joint = "" if is_cut else separator
