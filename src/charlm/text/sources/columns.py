"""The names of columns, and the keys of objects, which may lack some of the columns."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

MOST_KEYS = 1000
"""Number of a file's other keys that are remembered, to name them in an error."""


@dataclass
class Keys:
    """The keys that occur in objects, any of which may lack some.

    Attributes:
        found: The requested columns that occur.
        others: Keys of objects that lack a requested column, in order.
    """

    found: set[str] = field(default_factory=set)
    others: dict[str, None] = field(default_factory=dict)

    def find(self, columns: Sequence[str], record: Mapping[str, object]) -> list[object]:
        """Return the values of the requested columns in an object, None if it lacks them."""
        try:
            values = [record[column] for column in columns]
        except KeyError:
            return self._find_one_by_one(columns, record)
        self.found.update(columns)
        return values

    def _find_one_by_one(
        self, columns: Sequence[str], record: Mapping[str, object]
    ) -> list[object]:
        values = []
        for column in columns:
            key = column if column in record else same_name(column, record)
            if key is not None:
                self.found.add(column)
            elif column not in self.found and len(self.others) < MOST_KEYS:
                self.others |= dict.fromkeys(record)
            values.append(None if key is None else record[key])
        return values

    def add(self, other: "Keys") -> None:
        """Add the keys of other objects."""
        self.found |= other.found
        if len(self.others) < MOST_KEYS:
            self.others |= other.others


def same_name(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that is the same text in another Unicode normal form."""
    if name.isascii():
        return None
    normal = unicodedata.normalize("NFC", name)
    return next((each for each in names if unicodedata.normalize("NFC", each) == normal), None)


def look_alike(name: str, wanted: str) -> str:
    """Describe the first character in which two names differ if a reader may not see it.

    >>> look_alike("tеxt", "text")
    ' (its character 2 is U+0435 CYRILLIC SMALL LETTER IE)'
    >>> look_alike("Text", "text")
    ''
    """
    pairs = enumerate(zip_longest(name, wanted), start=1)
    for place, (one, other) in pairs:
        if one == other:
            continue
        for whose, character in (("its", one), ("your", other)):
            if character and not character.isascii():
                title = unicodedata.name(character, "a control character")
                return f" ({whose} character {place} is U+{ord(character):04X} {title})"
        break
    return ""
