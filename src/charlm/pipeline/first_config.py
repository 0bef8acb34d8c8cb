"""A first configuration for a user's file, with comments: what `charlm init` writes."""

import csv
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from charlm.errors import CharlmError
from charlm.text.sources.compression import decompressed
from charlm.text.sources.formats import format_of

HEAD = 4 << 20
"""Bytes of a file to look at."""

ROWS = 10_000
"""Rows of a Parquet file to look at."""

LITTLE = 50_000
"""Characters below which a model learns little more than to spell."""

TEMPLATE = """\
# charlm's settings for {source}. `charlm config {output}` prints all keys with their values;
# config/README.md explains them.

corpus:
  name: {name}  # the results are in results/{name}
  source: {path}  # globs work, too: data/*.csv
{columns}{encoding}
# Where to save time or gain quality; without these lines, the defaults follow from the text:
#
# training:
#   minutes: 5  # for each model, instead of a number of passes over the text
# models:
#   lstm: {{cell: lstm}}  # one model instead of two
# sampling:
#   prompts: ["", {prompt}]
"""


@dataclass(frozen=True)
class Source:
    """What the beginning of a file shows.

    Attributes:
        path: The file.
        format: `csv`, `tsv`, `jsonl`, `parquet` or `text`.
        encoding: The encoding of the file's text.
        columns: The texts in each column, by name; plain text has the one column `""`.
        share: The fraction of the file that was looked at.
    """

    path: Path
    format: str
    encoding: str
    columns: Mapping[str, Sequence[str]]
    share: float

    def likely_columns(self) -> list[str]:
        """Return the columns that may hold the text, the likeliest first.

        That is `text` if there is such a column, else those with the most letters and spaces.
        """
        if "text" in self.columns or len(self.columns) == 1:
            return ["text" if "text" in self.columns else next(iter(self.columns))]
        amounts = {name: _prose(texts) for name, texts in self.columns.items()}
        most = max(amounts.values(), default=0)
        found = [name for name, amount in amounts.items() if amount and amount >= most / 3]
        return sorted(found, key=amounts.__getitem__, reverse=True)

    def characters(self, column: str) -> int:
        """Return the number of characters in a column of the whole file, estimated."""
        return round(sum(map(len, self.columns[column])) / self.share)

    def describe(self, column: str) -> str:
        """Describe the text in a column: amount and script."""
        texts = self.columns[column]
        about = "" if self.share == 1 else "about "
        amount = f"{about}{self.characters(column):,} characters"
        if self.format != "text":
            amount += f" in {about}{round(len(texts) / self.share):,} rows"
        script = _script(texts)
        return f"{amount}, mostly {script} letters" if script else amount


def look_at(path: str | Path) -> Source:
    """Look at the beginning of a file.

    Raises:
        CharlmError: The file has no readable format, no columns or no text.
    """
    path = Path(path)
    format, codec = format_of(path)
    if format == "parquet":
        if codec is not None:
            raise CharlmError(f"{path}: a Parquet file in an archive; unpack it first")
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(ROWS), None)
        rows = batch.to_pylist() if batch else []
        share = len(rows) / max(file.metadata.num_rows, 1)
        source = Source(path, format, "utf-8", _columns(rows), share or 1)
    else:
        with path.open("rb") as opened:
            data = decompressed(opened, codec).read(HEAD)
            share = min(1, opened.tell() / max(path.stat().st_size, 1)) if len(data) == HEAD else 1
        encoding, text = _decoded(data, whole=share == 1)
        source = Source(path, format, encoding, _parse(text, format, whole=share == 1), share)
    if not any(any(texts) for texts in source.columns.values()):
        raise CharlmError(f"{path}: no text in it; give a file with text")
    return source


def first_config(source: Source, column: str, output: str) -> str:
    """Return a configuration for a column of a file, as YAML with comments.

    Args:
        source: The file.
        column: The column with the text.
        output: The name of the configuration.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.path.name.split(".")[0]).strip("-") or "my-text"
    others = [_quoted(each) for each in source.columns if each != column]
    columns = ""
    if source.format == "text":
        columns = "  # document: line  # or paragraph; without this, each file is one document\n"
    elif column != "text":
        columns = f"  text_columns: [{_quoted(column)}]\n"
    if others:
        columns += f"  # keep_columns: [{', '.join(others)}]  # to keep them beside the text\n"
    utf8 = source.encoding == "utf-8"
    words = next((text.split()[:2] for text in source.columns[column] if text.split()), [])
    return TEMPLATE.format(
        source=source.path.name,
        output=output,
        name=name,
        path=_quoted(str(source.path)),
        columns=columns,
        encoding="" if utf8 else f"  encoding: {source.encoding}\n",
        prompt=_quoted(" ".join(words)[:40] + " "),
    )


def _parse(text: str, format: str, *, whole: bool) -> dict[str, list[str]]:
    """Return the columns of a text that may be cut off in its last record."""
    if format == "text":
        return {"": [text]}
    if format == "jsonl":
        # Not splitlines(), which would also split at line separators within a string.
        lines = text.split("\n")[: None if whole else -1]
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
        except ValueError:
            return {}
        return _columns(row for row in rows if isinstance(row, dict))
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = max(",\t;|" if format == "csv" else "\t,;|", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    return _columns(list(reader)[: None if whole else -1])


def _columns(rows: Iterable[Mapping[str, object]]) -> dict[str, list[str]]:
    """Return the texts in each column, without missing values."""
    columns: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.items():
            texts = columns.setdefault(name, [])
            if isinstance(value, str) and value:
                texts.append(value)
    return {name: texts for name, texts in columns.items() if isinstance(name, str)}


def _decoded(data: bytes, *, whole: bool) -> tuple[str, str]:
    """Return the encoding of some bytes, and their text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-8", data.decode("utf-16", "replace")  # a byte order mark needs no setting
    try:
        return "utf-8", data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not whole and error.start > len(data) - 4:  # cut off inside a character
            return "utf-8", data[: error.start].decode("utf-8-sig")
        return "cp1252", data.decode("cp1252", "replace")


def _prose(texts: Sequence[str]) -> int:
    """Return the number of letters in texts that have more than one word."""
    sample = [text for text in texts[:1000] if " " in text.strip() or len(text) > 40]
    return sum(sum(map(str.isalpha, text)) for text in sample)


def _script(texts: Sequence[str]) -> str:
    """Return the script of most letters: Latin, Cyrillic, CJK; empty if there are no letters."""
    letters = [letter for letter in "".join(texts[:100])[:20_000] if letter.isalpha()]
    names = Counter(unicodedata.name(letter, "?").split()[0] for letter in letters)
    script = names.most_common(1)[0][0] if names else ""
    return script if script == "CJK" else script.capitalize()


def _quoted(text: str) -> str:
    """Return a text as YAML, in quotes where it needs them."""
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*", text)
    words = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and text.lower() not in words else json.dumps(text, ensure_ascii=False)
