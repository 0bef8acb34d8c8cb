"""A vocabulary as the files of a tokenizer that the libraries tokenizers and transformers load."""

from collections.abc import Mapping
from typing import NamedTuple

from charlm.text.symbols import Unit
from charlm.text.vocabulary import Vocabulary

START = "<start>"
"""The first token of a text where the vocabulary has no end of document."""

NO_LIMIT = 10**30
"""The `model_max_length` by which transformers means no limit."""


class TokenizerFiles(NamedTuple):
    """The content of a tokenizer's two files.

    Attributes:
        tokenizer: `tokenizer.json`.
        settings: `tokenizer_config.json`.
        first: The id of the token that each text begins with.
    """

    tokenizer: Mapping[str, object]
    settings: Mapping[str, object]
    first: int


def tokenizer_files(vocabulary: Vocabulary) -> TokenizerFiles:
    """Return the files of a tokenizer whose tokens are the symbols of a vocabulary.

    Each text begins with the end of the document before it, as `charlm` reads it, or with `START`.
    """
    end = vocabulary.end_of_document
    first = len(vocabulary) if end is None else end
    names = [*vocabulary.symbols, *[START] * (end is None)]
    if vocabulary.unit == "byte":
        names[:256] = byte_names()
    unknown = None if vocabulary.unknown is None else names[vocabulary.unknown]
    special = sorted(id for id in {first, vocabulary.unknown} if id is not None)
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": id,
                "content": names[id],
                "special": True,
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
            }
            for id in special
        ],
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_template("SpecialToken", names[first]), _template("Sequence", "A")],
            "pair": [
                _template("SpecialToken", names[first]),
                _template("Sequence", "A"),
                _template("SpecialToken", names[first]),
                _template("Sequence", "B"),
            ],
            "special_tokens": {
                names[first]: {"id": names[first], "ids": [first], "tokens": [names[first]]}
            },
        },
        **_parts(vocabulary.unit, {name: id for id, name in enumerate(names)}, unknown),
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": names[first],
        "eos_token": None if end is None else names[end],
        "pad_token": names[first],
        "unk_token": unknown,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # a text may spell out the name of a special symbol
        "model_max_length": NO_LIMIT,
    }
    return TokenizerFiles(tokenizer, settings, first)


def _template(kind: str, name: str) -> Mapping[str, object]:
    return {kind: {"id": name, "type_id": 0}}


def _parts(unit: Unit, ids: Mapping[str, int], unknown: str | None) -> Mapping[str, object]:
    """Return the steps of the tokenizer: split a text, look the parts up, join them again."""
    if unit == "grapheme":
        return {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": r"\X"},
                "behavior": "Isolated",
                "invert": False,
            },
            "model": {"type": "WordLevel", "vocab": ids, "unk_token": unknown or ""},
            "decoder": {"type": "Fuse"},
        }
    # Byte-pair encoding without merges leaves single characters.
    model: dict[str, object] = {
        "type": "BPE",
        "vocab": ids,
        "merges": [],
        "unk_token": unknown,
        "fuse_unk": False,
    }
    if unit == "character":
        return {"model": model, "decoder": {"type": "Fuse"}}
    bytes_ = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    return {"pre_tokenizer": bytes_, "model": model, "decoder": bytes_}


def byte_names() -> list[str]:
    """Return the character that stands for each byte in tokenizers of bytes.

    A byte that is a visible character of Latin-1 stands for itself; the others take the characters
    from U+0100 on, in order (Radford et al. 2019).

    >>> byte_names()[65], byte_names()[32]
    ('A', 'Ġ')
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]
