"""The dialect of a CSV or TSV file: its delimiter, quotes, escapes, header and comments."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pyarrow.csv as pcsv


class Row(NamedTuple):
    """A record as the `csv` module reads it, and where it is in the text."""

    values: list[str]
    start: int
    end: int
    line: int
    """Number of lines before the record."""
    lines: int
    """Number of lines of the record."""


@dataclass(frozen=True)
class Dialect:
    """The settings `corpus.csv`, with the names of `pandas.read_csv`.

    Attributes:
        delimiter: The character between fields; None for the one of the format.
        quoting: `none` if quotation marks are characters like any other.
        quotechar: The quotation mark.
        escapechar: The character that makes the next one an ordinary character.
        header: The number of records before the header; None if there is no header.
        comment: The character that begins a line to skip.
        na_values: Values to treat as missing, in addition to those of pandas.
    """

    delimiter: str | None = None
    quoting: Literal["minimal", "none"] = "minimal"
    quotechar: str = '"'
    escapechar: str | None = None
    header: int | None = 0
    comment: str | None = None
    na_values: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """The delimiter, which must be known."""
        assert self.delimiter is not None
        return self.delimiter

    @property
    def quotes(self) -> bool:
        """Whether fields can be quoted."""
        return self.quoting != "none"

    def arrow_options(self) -> pcsv.ParseOptions:
        """Return the options with which Arrow reads this dialect."""
        return pcsv.ParseOptions(
            delimiter=self.mark,
            quote_char=self.quotechar if self.quotes else False,
            escape_char=self.escapechar or False,
            newlines_in_values=self.quotes or self.escapechar is not None,
        )

    def rows(self, text: str) -> Iterator[Row]:
        r"""Yield the records of a text, without empty lines and comments.

        >>> [row.values for row in Dialect(",", comment="#").rows('#c\n"a\n1",b\n\nc,d\n')]
        [['a\n1', 'b'], ['c', 'd']]
        """
        start = end = first = count = 0

        def lines() -> Iterator[str]:
            nonlocal start, end, first, count
            for line in io.StringIO(text, newline=""):
                end += len(line)
                if self.comment and not count and line.startswith(self.comment):
                    start, first = end, first + 1
                    continue
                count += 1
                yield line

        reader = csv.reader(
            lines(),
            delimiter=self.mark,
            quotechar=self.quotechar,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            escapechar=self.escapechar,
        )
        for values in reader:
            if values:
                yield Row(values, start, end, first, count)
            start, first, count = end, first + count, 0

    def ends_open(self, text: str) -> Row | None:
        r"""Return the last record if a quote is still open at its end.

        >>> Dialect(",").ends_open('1,"a\n').values, Dialect(",").ends_open('1,"a"\n')
        (['1', 'a\n'], None)
        """
        # An added line is a record of its own or, if a quote is open, the end of the last field.
        *_, last = self.rows(f"{text}end\n")
        return open_row(last)

    def patterns(self, width: int) -> "Patterns":
        """Return what regular records of `width` fields look like."""
        mark = re.escape(self.mark)
        quote, escape = re.escape(self.quotechar), re.escape(self.escapechar or "")
        escaped = f"|{escape}(?s:.)" if escape else ""
        body = rf"(?:[^{quote}{escape}]++|{quote}{quote}{escaped})*+"
        plain = rf"(?:[^{quote}\r\n{mark}{escape}]++{escaped})*+"
        stray = rf"(?!{quote})(?:[^\r\n{mark}{escape}]++{escaped})*+"
        comments = rf"(?:{re.escape(self.comment)}[^\r\n]*+[\r\n]++)*+" if self.comment else ""
        if self.quotes:
            field = rf"(?:{quote}{body}{quote}|{plain})"
            record = rf"{comments}{field}(?:{mark}{field}){{{width - 1}}}+[\r\n]++"
            rest = rf"(?:{field}{mark}){{0,{width - 1}}}+(?:{quote}{body}{quote}?+|{plain})"
            records = rf"(?:(?:{record})++{comments}{rest}|{quote}{body}\Z)"
        else:
            line = rf"(?:[^\r\n{escape}]++{escaped})*+"
            field = rf"(?:[^\r\n{mark}{escape}]++{escaped})*+"
            records = rf"(?:{line}[\r\n]++)++{line}"
        one = rf"(?:{quote}{body}{quote}|{stray})" if self.quotes else field
        # Within quotes opened by the first one, a quote alone must end the field.
        first = rf"(?:[^{mark}{quote}\r\n{escape}]{escaped})"
        broken = rf"{quote}(?<![^{mark}\r\n]{quote}){first}{body}{quote}[^{mark}{quote}\r\n]"
        return Patterns(
            re.compile(records.encode()),
            re.compile((rf"(?<!{escape})" if escape else "").encode() + rb"[\r\n]+"),
            re.compile(rf"{one}(?:{mark}{one})*+[\r\n]*".encode()),
            re.compile(broken.encode()) if self.quotes else None,
            self.quotechar.encode(),
        )


class Patterns(NamedTuple):
    """Patterns of the records of a dialect."""

    records: re.Pattern[bytes]
    """Records quoted as in RFC 4180, of which the last may be incomplete."""
    line_end: re.Pattern[bytes]
    """The end of a line at which a record may end."""
    record: re.Pattern[bytes]
    """A record of any number of fields whose quotes begin and end fields."""
    broken: re.Pattern[bytes] | None
    """A quoted field that goes on after its closing quote."""
    quote: bytes
    """The quotation mark."""


def open_row(last: Row) -> Row | None:
    """Return the open record if the added line `end` became part of it."""
    if last.values == ["end"]:
        return None
    values = [*last.values[:-1], last.values[-1].removesuffix("end\n")]
    return Row(values, last.start, last.end - len("end\n"), last.line, last.lines - 1)


SEPARATOR_LINE = re.compile(rb'"?sep=([\x21-\x7e\t])"?[\t ]*(?:\r\n|\r|\n)')
"""The first line with which Excel names the delimiter."""
