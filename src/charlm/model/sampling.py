"""Sampling: what a trained model writes."""

import codecs
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charlm.errors import CharlmError
from charlm.files import write_text
from charlm.model.devices import choose_device
from charlm.model.network import LanguageModel, State, load_model
from charlm.model.scoring import predictions
from charlm.progress import progress
from charlm.text.vocabulary import Vocabulary, check_unicode, split_graphemes

log = logging.getLogger(__name__)

WIDTH = 16
"""Samples are drawn that many at a time, with idle ones beside them where there are fewer: a
matrix product of one fixed shape gives a sample the same bits whatever stands beside it."""

WINDOW = 256
"""Of a longer prompt, all but the last symbols are read in windows of this length. Each prompt is
read alone, so that the bits of its state do not depend on other prompts."""

GREEDY = 1e-100
"""Temperatures below this are 0: no two float32 logits are so close that a symbol other than the
likeliest would have a chance, and dividing by still smaller numbers overflows."""

ON_UNKNOWN = ("error", "replace", "skip")


@dataclass(frozen=True)
class Request:
    """One sample to draw.

    Args:
        prompt: The text to go on from.
        length: Symbols to write.
        temperature: Divides the logits; 0 always takes the likeliest symbol.
        top_k: Draw from that many likeliest symbols only.
        top_p: Draw from the fewest likeliest symbols that make up this probability
            (Holtzman et al. 2020, arXiv:1904.09751).
        seed: Seed, together with the prompt, of the sample's own generator.
        stop: A text that ends the sample where it would stand; it is left out.
        on_unknown: What to do with characters of the prompt that the vocabulary lacks: `error`,
            `replace` them by the unknown symbol, or `skip` them.

    Raises:
        CharlmError: A value is out of range, or a text is not valid Unicode.
    """

    prompt: str
    length: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    stop: str | None = None
    on_unknown: str = "error"

    def __post_init__(self) -> None:
        for name, right, range_ in (
            ("length", self.length >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature <= sys.float_info.max, "0 (greedy) or more"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more, or none"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1, or none"),
            ("seed", 0 <= self.seed < 2**63, "from 0 to 2^63 - 1"),
            ("stop", self.stop != "", "a character or more, or none"),
            ("on_unknown", self.on_unknown in ON_UNKNOWN, f"one of {', '.join(ON_UNKNOWN)}"),
        ):
            if not right:
                raise CharlmError(f"sampling.{name}: {getattr(self, name)!r} is not {range_}")
        check_unicode(self.prompt, "sampling.prompts")
        check_unicode(self.stop or "", "sampling.stop")


class TrainedModel:
    """A trained model with its vocabulary: writes, and scores what others wrote."""

    def __init__(self, model: LanguageModel, vocabulary: Vocabulary) -> None:
        self.model = model
        self.vocabulary = vocabulary

    def generate(
        self,
        prompt: str,
        *,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        num_samples: int = 1,
        stop: str | None = None,
        on_unknown: str = "error",
    ) -> list[str]:
        """Return samples that go on from `prompt`, without it.

        The samples have the seeds `seed`, `seed` + 1 and so on. One seed gives one text, however
        many samples are drawn beside it. See `Request` for the arguments.

        Raises:
            CharlmError: A value is out of range, or the vocabulary lacks a character of the prompt.
        """
        if num_samples < 1:
            raise CharlmError(f"sampling.num_samples: {num_samples} is not 1 or more")
        return self.draw(
            [
                Request(prompt, length, temperature, top_k, top_p, seed + number, stop, on_unknown)
                for number in range(num_samples)
            ]
        )

    def stream(
        self,
        prompt: str,
        *,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: str | None = None,
        on_unknown: str = "error",
    ) -> Iterator[str]:
        """Return an iterator over the pieces of what `generate` returns for one sample."""
        request = Request(prompt, length, temperature, top_k, top_p, seed, stop, on_unknown)
        return self.pieces(request)

    def pieces(self, request: Request) -> Iterator[str]:
        """Yield the text of a request piece by piece, as it is drawn."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        held = ""  # it might be the beginning of the stop text
        for (symbol,) in self._drawn([request]):
            if symbol is not None:
                if self.vocabulary.unit == "byte":
                    held += decoder.decode(bytes([symbol]))
                else:
                    held += self.vocabulary.decode([symbol])
                free = len(held) - len(request.stop or " ") + 1
                if free > 0 and not (request.stop and request.stop in held):
                    yield held[:free]
                    held = held[free:]
        held += decoder.decode(b"", final=True)
        yield held.split(request.stop)[0] if request.stop else held

    def score(self, text: str) -> float:
        """Return the nats that a character of `text` costs, read as a document of its own.

        Raises:
            CharlmError: The text is empty or not valid Unicode, or the vocabulary cannot write it.
        """
        check_unicode(text, "score")
        if not text:
            raise CharlmError("score: the text is empty; give at least one character")
        symbols = self.vocabulary.encode(text)
        (found,) = predictions(self.model, [symbols], self.vocabulary.end_of_document)
        unknown: int = self.vocabulary.count_unknown(text)
        total = float(found["nats"].sum(dtype=np.float64)) + unknown * self.vocabulary.unknown_nats
        return total / len(text)

    def draw(self, requests: Sequence[Request]) -> list[str]:
        """Return the text of each request."""
        total = sum(request.length for request in requests)
        with progress(total, "sampling", unit="symbol") as bar:
            return list(self.texts(requests, bar.update))

    def texts(
        self, requests: Iterable[Request], advance: Callable[[int], object] | None = None
    ) -> Iterator[str]:
        """Yield the text of each request; `WIDTH` are drawn at a time.

        Args:
            requests: The samples to draw.
            advance: Called with the number of symbols drawn at each step.
        """
        requests = iter(requests)
        while group := list(islice(requests, WIDTH)):
            written: list[list[int]] = [[] for _ in group]
            for symbols in self._drawn(group):
                drawn = [(row, symbol) for row, symbol in enumerate(symbols) if symbol is not None]
                for row, symbol in drawn:
                    written[row].append(symbol)
                if advance:
                    advance(len(drawn))
            for request, ids in zip(group, written, strict=True):
                text = self.vocabulary.decode(ids)
                yield text.split(request.stop)[0] if request.stop else text

    @torch.no_grad()
    def _drawn(self, requests: Sequence[Request]) -> Iterator[list[int | None]]:
        """Yield, step by step, the next symbol of each request; None where there is none.

        All read their prompts and write side by side, each with random numbers of its own.
        """
        prompts = [self.encode_prompt(request) for request in requests]
        chances = [
            _chances(request.seed, prompt)
            for request, prompt in zip(requests, prompts, strict=True)
        ]
        texts, state = self._read(prompts)
        begins = [len(text) for text in texts]
        ends = [len(text) + request.length for text, request in zip(texts, requests, strict=True)]
        limits = _Limits(requests, self.vocabulary)

        device = self.model.device
        advance = self.model.stepper(WIDTH, state)
        step = -1  # before the first symbol is read, the state at rest predicts it
        logits = self.model.at_rest(WIDTH)
        while any(len(text) < end for text, end in zip(texts, ends, strict=True)):
            writes = [
                len(text) == step + 1 and len(text) < end
                for text, end in zip(texts, ends, strict=True)
            ]
            if any(writes):
                numbers = torch.zeros(WIDTH, dtype=torch.float64)
                for row, write in enumerate(writes):
                    if write:
                        numbers[row] = next(chances[row])
                symbols = limits.draw(logits.cpu().double(), numbers)
                for row, write in enumerate(writes):
                    if write:
                        texts[row].append(symbols[row])
                        if self._stopped(requests[row].stop, texts[row][begins[row] :]):
                            ends[row] = len(texts[row])
                yield [
                    text[-1] if write else None for text, write in zip(texts, writes, strict=True)
                ]
            step += 1
            read = [text[step] if step < len(text) else 0 for text in texts]
            read += [0] * (WIDTH - len(read))
            logits = advance(torch.tensor(read, device=device))

    def _read(self, prompts: Sequence[list[int]]) -> tuple[list[list[int]], State | None]:
        """Read long prompts except for their last symbols.

        Returns:
            What is left to read of each prompt, and the state of `WIDTH` streams before that; None
            where none of the prompts is long.
        """
        cuts = [max(0, len(prompt) - 1) // WINDOW * WINDOW for prompt in prompts]
        left = [prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
        if not any(cuts):
            return left, None
        joined = self.model.fresh_state(WIDTH)
        states: dict[tuple[int, ...], State] = {(): self.model.fresh_state(1)}
        for row, (prompt, cut) in enumerate(zip(prompts, cuts, strict=True)):
            read = tuple(prompt[:cut])
            if read not in states:
                states[read] = self._state_after(read)
            for whole, part in zip(_parts(joined), _parts(states[read]), strict=True):
                whole[:, row] = part[:, 0]
        return left, joined

    def _state_after(self, symbols: Sequence[int]) -> State:
        state = self.model.fresh_state(1)
        for begin in range(0, len(symbols), WINDOW):
            window = torch.tensor(symbols[begin : begin + WINDOW], device=self.model.device)
            _, state = self.model(window[:, None], state)
        return state

    def _stopped(self, stop: str | None, written: Sequence[int]) -> bool:
        """Return whether the last of the written symbols completes the text `stop`."""
        if stop is None:
            return False
        last = written[-len(stop.encode("utf-8")) :]  # a symbol is a byte or more
        return stop in self.vocabulary.decode(last)

    def encode_prompt(self, request: Request) -> list[int]:
        """Return the symbols of a prompt, behind the end of the document before it.

        Raises:
            CharlmError: The vocabulary lacks a character of the prompt.
        """
        prompt = request.prompt
        unknown = self.vocabulary.unknown_characters(prompt)
        if unknown and request.on_unknown == "error":
            raise CharlmError(
                f"sampling.prompts: {prompt!r} holds characters that the vocabulary lacks "
                f"({', '.join(map(repr, unknown))}); leave them out, or set sampling.on_unknown "
                "to 'replace' or 'skip'"
            )
        if request.on_unknown == "skip":
            symbols = split_graphemes(prompt) if self.vocabulary.unit == "grapheme" else prompt
            prompt = "".join(symbol for symbol in symbols if symbol not in unknown)
        end_of_document = self.vocabulary.end_of_document
        start = [] if end_of_document is None else [end_of_document]
        return start + [int(symbol) for symbol in self.vocabulary.encode(prompt)]


def _parts(state: State) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def _chances(seed: int, prompt: Sequence[int]) -> Iterator[float]:
    """Yield the random numbers from [0, 1) of one sample."""
    # With the same numbers, texts of different prompts would go on alike once they meet.
    (mixed,) = np.random.SeedSequence([seed, *prompt]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(mixed))
    while True:
        yield from torch.rand(256, generator=generator, dtype=torch.float64).tolist()


def read_prompts(path: str | Path) -> list[str]:
    """Return the prompts of a text file, one a line.

    Raises:
        CharlmError: There is none, or the file cannot be read or is not UTF-8.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CharlmError(f"{path}: byte {error.start}: not UTF-8; save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise CharlmError(f"{path}: {getattr(error, 'strerror', error)}; name another") from None
    prompts = lines if lines[-1] else lines[:-1]
    if not prompts:
        raise CharlmError(f"{path}: holds no prompt; write one a line")
    return prompts


class _Limits:
    """How each row of a batch draws from its distribution: temperature, top-k and top-p."""

    def __init__(self, requests: Sequence[Request], vocabulary: Vocabulary) -> None:
        rows = [*requests, *[Request("", 1)] * (WIDTH - len(requests))]
        size = len(vocabulary)
        temperature = torch.tensor([[row.temperature] for row in rows], dtype=torch.float64)
        self.greedy = temperature < GREEDY
        self.temperature = temperature.masked_fill(self.greedy, 1.0)
        self.top_k = torch.tensor([[min(row.top_k or size, size)] for row in rows])
        self.top_k.masked_fill_(self.greedy, 1)
        self.top_p = torch.tensor([[row.top_p or 1.0] for row in rows], dtype=torch.float64)
        special = (vocabulary.unknown, vocabulary.end_of_document)
        self.never_written = [symbol for symbol in special if symbol is not None]

    def draw(self, logits: Tensor, chance: Tensor) -> list[int]:
        """Return a symbol a row.

        Args:
            logits: float64, shape (rows, V).
            chance: A number from [0, 1) for each row, float64: its place in the cumulated
                distribution of the symbols, likeliest first.
        """
        logits[:, self.never_written] = -torch.inf
        ordered, symbols = torch.sort(logits / self.temperature, descending=True, stable=True)
        probability = torch.softmax(ordered, dim=1)
        before = probability.cumsum(1) - probability
        rank = torch.arange(logits.shape[1])
        probability[(rank >= self.top_k) | ((before >= self.top_p) & (rank > 0))] = 0
        cumulated = probability.cumsum(1)
        places = torch.searchsorted(cumulated, chance[:, None] * cumulated[:, -1:], right=True)
        last = (probability > 0).sum(1, keepdim=True) - 1
        return [int(symbol) for symbol in symbols.gather(1, torch.minimum(places, last))]


def load(folder: str | Path, *, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a trained model from its folder, `results/{corpus}/models/{model}`.

    Args:
        folder: The folder.
        device: Where to compute: `auto` (CUDA, then MPS, then the CPU), `cpu`, `cuda`, `cuda:N`,
            `mps`, or a `torch.device`.

    Raises:
        CharlmError: A file is missing, damaged or foreign, or this machine has no such device.
    """
    return TrainedModel(*load_model(folder, device=choose_device(device)))


def sample_record(request: Request, text: str) -> dict[str, Any]:
    """Return what a line of `samples.jsonl` holds."""
    return {
        "prompt": request.prompt,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "seed": request.seed,
        "text": text,
    }


def sample(
    model_folder: str | Path,
    samples: str | Path,
    *,
    prompts: Sequence[str],
    temperatures: Sequence[float],
    top_k: int | None,
    top_p: float | None,
    length: int,
    num_samples: int,
    seed: int,
    stop: str | None,
    on_unknown: str,
    prompts_file: str | Path | None,
    device: str = "auto",
) -> None:
    """Draw samples from a trained model and write `samples.jsonl`, a line a sample.

    For each prompt and temperature there are `num_samples`, with the seeds `seed`, `seed` + 1 …
    The lines of `prompts_file`, where there is one, take the place of `prompts`.

    Raises:
        CharlmError: The model cannot be loaded, or a prompt not be written with its vocabulary.
    """
    model = load(model_folder, device=choose_device(device, "training.device"))
    requests = [
        Request(prompt, length, temperature, top_k, top_p, seed + number, stop, on_unknown)
        for prompt in (read_prompts(prompts_file) if prompts_file else prompts)
        for temperature in temperatures
        for number in range(num_samples)
    ]
    lines = [
        sample_record(request, text)
        for request, text in zip(requests, model.draw(requests), strict=True)
    ]
    write_text(samples, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    log.info("%d samples of %d symbols", len(lines), length)
