"""Stage `plain_text`: the clean corpus as one text file."""

from pathlib import Path

from charlm.text.tables import output, row_groups


def write_plain_text(corpus: str | Path, path: str | Path, *, separator: str) -> None:
    """Write all documents of a corpus as one text, joined by `separator`."""
    previous: int | None = None
    with output(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for table in row_groups(corpus, ["doc_id", "text"]):
            ids, texts = table["doc_id"].to_pylist(), table["text"].to_pylist()
            for doc_id, text in zip(ids, texts, strict=True):
                if previous not in (None, doc_id):
                    file.write(separator)
                file.write(text)
                previous = doc_id
