"""Plain text is one document, or one for each line or paragraph."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.text.sources import plain_text
from tests.text.sources.reading import read, read_in_blocks_of, rejected

TEXT = "a\r\nb \n\n \t\nc\rd\n\n\n  e\n"


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ("file", [TEXT]),
        ("line", ["a", "b ", "c", "d", "  e"]),
        ("paragraph", ["a\r\nb ", "c\rd", "  e"]),
    ],
)
def test_what_a_document_is(tmp_path: Path, document: str, texts: list[str]) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    table = read(tmp_path, str(tmp_path / "a.txt"), document=document)
    assert table["text"].to_pylist() == texts
    assert table["doc_id"].to_pylist() == list(range(len(texts)))


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.sampled_from(list("ab \t\r\n")), max_size=60),
    st.sampled_from(["line", "paragraph"]),
    st.integers(1, 20),
)
def test_blocks_of_any_size_give_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, text: str, document: str, size: int
) -> None:
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_bytes(f"x{text}".encode())
    whole = read(folder, str(folder / "a.txt"), document=document)
    with pytest.MonkeyPatch.context() as patch:
        read_in_blocks_of(size, patch)
        patch.setattr(plain_text, "BLOCK_BYTES", size)
        table = read(folder, str(folder / "a.txt"), document=document)
    assert table == whole


def test_a_line_that_cannot_be_decoded_is_rejected_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\ncaf\xe9\nb\n")
    table = read(tmp_path, str(tmp_path / "a.txt"), document="line")
    assert table["text"].to_pylist() == ["a", "b"]
    assert [row["row"] for row in rejected(tmp_path)] == [2]
