"""Check that other models have the vocabulary of a corpus."""

from collections.abc import Iterable
from pathlib import Path

from charlm.errors import CharlmError
from charlm.model.store import read_description
from charlm.text.vocabulary import Vocabulary


def match_vocabulary(vocabulary: str | Path, descriptions: Iterable[str | Path]) -> None:
    """Raise an error unless models have the vocabulary of a corpus.

    Args:
        vocabulary: The file `vocabulary.json` of the corpus.
        descriptions: The files `model.json` of the models.

    Raises:
        CharlmError: A model has another vocabulary.
    """
    symbols = Vocabulary.load(vocabulary).symbols
    for description in descriptions:
        other = read_description(Path(description).parent).vocabulary.symbols
        if other != symbols:
            known = set(other)
            missing = [symbol for symbol in symbols if symbol not in known][:5]
            lacks = f"lacks {', '.join(map(repr, missing))}" if missing else "has more or other ids"
            raise CharlmError(
                f"{Path(description).parent}: training.init_from or training.teacher names a model "
                f"of another vocabulary, which {lacks}; name one of the same corpus"
            )
