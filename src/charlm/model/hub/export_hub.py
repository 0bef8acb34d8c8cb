"""Export of a trained model as a repository of the Hugging Face Hub."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.numpy import save

import charlm
from charlm.errors import CharlmError
from charlm.files import atomic, write_text
from charlm.model.hub.tokenizer import tokenizer_files
from charlm.model.plain_weights import Weights, plain_weights
from charlm.model.store import make_contexts, read_description
from charlm.model.weights import GATE, TABLES
from charlm.settings import Architecture, MixtureSettings
from charlm.text.vocabulary import Vocabulary

MODULES = (
    "hub/modeling_charlm",
    "hub/plain_network",
    "base",
    "contexts",
    "discounts",
    "experts",
    "gate",
    "kneser_ney",
    "mixture",
)
"""The code that the repository holds, from the package `charlm.model`."""

USAGE = """\
## Usage

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "path/or/name/of/this/repository"
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
inputs = tokenizer("Once ", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))
```

The code in this repository needs PyTorch and NumPy. Each token is one symbol of the vocabulary. The
first token of a text stands for the end of the document before it.

"""


def export_hub(model_folder: str | Path, destination: str | Path) -> None:
    """Write a trained model as a repository that `transformers` loads and the Hub shows.

    The repository has the weights and counts, the code, the tokenizer and the model card. What
    stands in the folder beside them stays.

    Args:
        model_folder: The folder of the trained model, with its model card.
        destination: The folder to write.

    Raises:
        CharlmError: A file of the model is missing, damaged or foreign.
    """
    model_folder, destination = Path(model_folder), Path(destination)
    if destination.resolve() == model_folder.resolve():
        raise CharlmError(f"{destination}: the model's own folder; name another")
    weights = plain_weights(model_folder)
    card = _card(model_folder / "README.md")
    description = read_description(model_folder)
    architecture, vocabulary = description.architecture, description.vocabulary
    arrays = {_name_in_hub(name): array for name, array in weights.items()}
    if architecture.mixture:
        letters = make_contexts(vocabulary, architecture.mixture).letters
        assert letters is not None
        arrays["letters"] = letters.numpy()
    tokenizer = tokenizer_files(vocabulary)
    config = _config(architecture, vocabulary, weights, tokenizer.first)
    unknown = vocabulary.unknown
    texts = {
        "README.md": card,
        "config.json": _json(config),
        "generation_config.json": _json(
            {
                "bos_token_id": tokenizer.first,
                "eos_token_id": vocabulary.end_of_document,
                "pad_token_id": tokenizer.first,
                "suppress_tokens": None if unknown is None else [unknown],
                "do_sample": True,
                "temperature": 0.8,
                "max_new_tokens": 200,
            }
        ),
        "tokenizer.json": _json(tokenizer.tokenizer),
        "tokenizer_config.json": _json(tokenizer.settings),
    }
    package = Path(charlm.__file__).parent / "model"
    for module in MODULES:
        path = (package / module).with_suffix(".py")
        texts[path.name] = _standing_alone(path.read_text(encoding="utf-8"))
    for name, text in texts.items():
        write_text(destination / name, text)
    with atomic(destination / "model.safetensors") as temporary:
        temporary.write_bytes(save(dict(sorted(arrays.items())), {"format": "pt"}))


def _config(
    architecture: Architecture, vocabulary: Vocabulary, weights: Weights, first: int
) -> Mapping[str, object]:
    """Return `config.json`; see `charlm.model.hub.modeling_charlm.CharlmConfig`.

    `first` is the token that each text begins with.
    """
    prefix = "" if architecture.members == 1 else "members.0."
    symbols, hidden_size = weights[f"{prefix}output.weight"].shape
    return {
        "model_type": "charlm",
        "architectures": ["CharlmForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_charlm.CharlmConfig",
            "AutoModelForCausalLM": "modeling_charlm.CharlmForCausalLM",
        },
        "dtype": "float32",
        "vocab_size": max(symbols, first + 1),
        "symbols": symbols,
        "cell": architecture.cell,
        "embedding_size": weights[f"{prefix}embedding.weight"].shape[1],
        "hidden_size": hidden_size,
        "num_hidden_layers": architecture.num_layers,
        "members": architecture.members,
        "mixture": architecture.mixture and _mixture(architecture.mixture, weights),
        "end_of_document": vocabulary.end_of_document,
        "unknown_nats": vocabulary.unknown_nats,
        "bos_token_id": first,
        "eos_token_id": vocabulary.end_of_document,
        "pad_token_id": first,
        "tie_word_embeddings": False,
    }


def _mixture(settings: MixtureSettings, weights: Weights) -> Mapping[str, object]:
    counts: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    for name, array in weights.items():
        if name.startswith(TABLES):
            expert, kind = name.removeprefix(TABLES).split(".")
            counts.setdefault(expert, {})[kind] = (str(array.dtype), array.shape)
    return {"experts": settings.experts, "order": settings.order, "counts": counts}


def _name_in_hub(name: str) -> str:
    """Return the name of an array in the repository.

    >>> _name_in_hub("output.weight"), _name_in_hub("experts.tables.word.counts")
    ('network.members.0.output.weight', 'counts.word.counts')
    """
    if name.startswith(TABLES):
        return name.replace(TABLES, "counts.")
    if name.startswith(GATE):
        return name
    return f"network.{name}" if name.startswith("members.") else f"network.members.0.{name}"


def _standing_alone(code: str) -> str:
    """Return a module that imports its neighbours in one folder instead of the package.

    >>> _standing_alone("from charlm.model.base import State")
    'from .base import State'
    """
    return re.sub(r"(?m)^from charlm\.(?:\w+\.)*(\w+) import", r"from .\1 import", code)


def _card(path: Path) -> str:
    """Return the model card, with the usage of the repository."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CharlmError(
            f"{path}: there is no such file; make it: `snakemake --cores all {path}`"
        ) from None
    text = text.replace("library_name: charlm", "library_name: transformers", 1)
    return re.sub(r"(?s)## Usage\n.*?(?=## Limitations\n)", USAGE.replace("\\", r"\\"), text)


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
