"""The request to read a source file, and the records that a reader returns."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.text.sources.columns import Keys, look_alike, same_name
from charlm.text.sources.dialect import Dialect
from charlm.text.tables import utf8_buffer

# fmt: off
MISSING = pa.array(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)
# fmt: on
"""Values that `pandas.read_csv` treats as missing."""

UNDECODABLE = "bytes that do not decode"
"""The start of the reason for which such records are rejected."""

CESU_8 = "a character in CESU-8 instead of UTF-8"
"""The start of the reason for records with surrogates, which old MySQL and Java write for emoji."""

HOW_TO_DECODE = {
    UNDECODABLE: "set corpus.encoding (to cp1252, for example)",
    CESU_8: "set corpus.encoding to utf-8-variants",
}
"""What to do about records that are rejected for such a reason."""

SURROGATES = re.compile("\udced[\udca0-\udcaf][\udc80-\udcbf]\udced[\udcb0-\udcbf]")
"""A pair of surrogates in CESU-8, decoded with `surrogateescape`."""

UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, and surrogates, which stand for bytes that could not be decoded."""


class Note(NamedTuple):
    """Something that the user should know about a record or, if `place` is None, a file."""

    place: int | None
    """The index of the record."""
    text: str


@dataclass
class Records:
    """The records of one block.

    Attributes:
        total: Number of records.
        places: The indices of the usable records, shape (usable,).
        text: The texts of the usable records, null if missing.
        kept: The other columns of the usable records.
        rejected: Index, reason and excerpt of each unusable record.
        size: The size of the records in bytes; 0 if the reader does not say.
        lines: Their number of lines; 0 if the reader does not say.
        lost_size: The size of the unusable records in bytes.
        lost_lines: Their number of lines.
        notes: What the user should know about usable records.
        advice: How to read the unusable records, if that is known.
        numbered: For a reason with `{line}`, by its index: number of lines before that line.
        keys: The keys of the records if these need not have all columns.
        replaced: Number of characters that were replaced by U+FFFD.
    """

    total: int
    places: NDArray[np.int64]
    text: pa.Array
    kept: list[pa.Array]
    rejected: list[tuple[int, str, str]]
    size: int = 0
    lines: int = 0
    lost_size: int = 0
    lost_lines: int = 0
    notes: list[Note] = field(default_factory=list)
    advice: str = ""
    numbered: dict[int, int] = field(default_factory=dict)
    keys: Keys | None = None
    replaced: int = 0

    def with_lines_from(self, first: int) -> Self:
        """Fill in the line numbers of the reasons; `first` lines are before these records."""
        for index, line in self.numbered.items():
            place, reason, text = self.rejected[index]
            self.rejected[index] = place, reason.format(line=first + line + 1), text
        return self


DEFAULT_DIALECT = Dialect()


@dataclass(frozen=True)
class Request:
    """The columns to read from a file, and how.

    Attributes:
        name: The name of the file in messages and in `rejected.parquet`.
        text_columns: The columns whose texts are joined.
        keep_columns: The other columns to read.
        separator: The string between the texts of several columns.
        encoding: The encoding of a text file without a byte order mark.
        dialect: The dialect of CSV and TSV files.
        document: What is one document of a plain-text file: the `file`, a `line` or a `paragraph`.
    """

    name: str
    text_columns: tuple[str, ...]
    keep_columns: tuple[str, ...]
    separator: str
    encoding: str
    dialect: Dialect = DEFAULT_DIALECT
    document: str = "file"

    @property
    def columns(self) -> list[str]:
        """The columns to read, text columns first."""
        return [*self.text_columns, *self.keep_columns]

    def error(self, message: str) -> CharlmError:
        """Return an error that names the file."""
        return CharlmError(f"{self.name}: {message}")

    def check_size(self, path: Path, before: int) -> None:
        """Check that a file did not shrink while it was read.

        Raises:
            CharlmError: It did.
        """
        if (after := path.stat().st_size) < before:
            raise self.error(
                f"it shrank from {before:,} to {after:,} bytes while it was read; "
                "run again when no program writes to it"
            )

    def indices(self, names: Sequence[str], hint: str = "") -> list[int]:
        """Return the indices of the requested columns in the `names` of a file's columns.

        Raises:
            CharlmError: A column is missing or occurs twice; `hint` says how to fix that.
        """
        if not self.text_columns:
            raise self.error("name the column that holds the text in corpus.text_columns")
        found = [column if column in names else same_name(column, names) for column in self.columns]
        for column, name in zip(self.columns, found, strict=True):
            if name is None:
                near = difflib.get_close_matches(column, names, 1, 0.5)
                if not hint:
                    key = "text_columns" if column in self.text_columns else "keep_columns"
                    hint = (
                        f"did you mean {near[0]!r}{look_alike(near[0], column)}?"
                        if near
                        else f"name yours in corpus.{key}"
                    )
                known = ", ".join(repr(name[:80]) for name in names[:50])
                raise self.error(f"there is no column {column!r}; the columns are {known}; {hint}")
            if list(names).count(name) > 1:
                raise self.error(f"there are two columns {column!r}; rename one of them")
        return [list(names).index(name) for name in found if name is not None]

    def records(
        self,
        total: int,
        places: NDArray[np.int64],
        columns: list[pa.Array],
        missing: pa.Array | None = None,
        rejected: Sequence[tuple[int, str, str]] = (),
    ) -> Records:
        """Join the text columns of the usable records.

        Args:
            total: Number of records, usable or not.
            places: The indices of the usable records, shape (usable,).
            columns: The columns of the usable records, text columns first.
            missing: The values to replace by null, if any.
            rejected: Index, reason and excerpt of each unusable record.
        """
        texts = columns[: len(self.text_columns) or 1]
        kept = columns[len(texts) :]
        if missing is not None:
            texts = [_without_missing(text, missing) for text in texts]
        if len(texts) > 1:
            none = reduce(pc.and_, [text.is_null() for text in texts])
            # Arrow drops rows in which all values are null, so give these a text for now.
            first = pc.if_else(none, "", texts[0])
            joined = pc.binary_join_element_wise(
                first, *texts[1:], self.separator, null_handling="skip"
            )
            texts = [pc.if_else(none, None, joined)]
        return Records(total, places.astype(np.int64), texts[0], kept, list(rejected))

    def collect(
        self,
        total: int,
        usable: Sequence[tuple[int, Sequence[str | None]]],
        rejected: Sequence[tuple[int, str, str]],
        missing: pa.Array | None = None,
    ) -> Records:
        """Join the text columns of records given as pairs of index and values; see `records`."""
        columns = [
            pa.array([values[index] for _, values in usable], pa.string())
            for index in range(max(1, len(self.columns)))
        ]
        places = np.array([place for place, _ in usable], np.int64)
        return self.records(total, places, columns, missing, rejected)


def _without_missing(texts: pa.Array, missing: pa.Array) -> pa.Array:
    """Replace the values that stand for a missing text by null."""
    ends, _ = utf8_buffer(texts)
    if (np.diff(ends) > pc.max(pc.binary_length(missing)).as_py()).all():
        return texts
    found = pc.is_in(texts, missing)
    return pc.if_else(found, None, texts) if pc.any(found).as_py() else texts


def first_reason(values: Sequence[str | None], request: Request) -> str | None:
    """Return why these values cannot be used, or None if they can."""
    names = request.columns or ["text"]
    for name, value in zip(names, values, strict=False):
        if value and (found := UNUSABLE.search(value)):
            what = "a NUL byte" if found[0] == "\0" else undecodable(value, found.start())
            return f"{what} at character {found.start() + 1} of column {name!r}"
    return None


def undecodable(text: str, place: int) -> str:
    """Return the start of the reason for bytes at a place of a text that could not be decoded."""
    return CESU_8 if SURROGATES.match(text, place) else UNDECODABLE


def excerpt(text: str | bytes) -> str:
    """Return the start of a text on one line, for a message."""
    start = text[:200]
    if isinstance(start, str):
        start = start.encode("utf-8", "replace")
    return " ".join(start.decode("utf-8", "replace").split())[:80]


def one_line(error: BaseException) -> str:
    """Return an error's message on one line."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
