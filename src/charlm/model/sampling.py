"""Sampling from a distribution: temperature, top-k and top-p."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, Self, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from charlm.errors import CharlmError
from charlm.text.symbols import check_unicode
from charlm.text.vocabulary import Vocabulary

OnUnknown: TypeAlias = Literal["error", "replace", "skip"]

MIN_TEMPERATURE = 1e-100
"""Lower temperatures count as 0. No two float32 logits are so close that the less likely symbol
would have a chance, and dividing by an even smaller number overflows."""


@dataclass(frozen=True)
class SampleRequest:
    """A sample to draw.

    Args:
        prompt: The text to continue.
        length: Number of symbols to write.
        temperature: Divides the logits; 0 always takes the likeliest symbol.
        top_k: Draw from this many likeliest symbols only.
        top_p: Draw from the smallest set of likeliest symbols whose probabilities add up to this
            (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751).
        seed: Seed of the sample's random numbers, which depend on the prompt as well.
        stop: The sample ends before this text.
        end: Whether the end of a document ends the sample; otherwise it is never drawn.
        on_unknown: What to do with characters of the prompt that are not in the vocabulary: raise
            an `error`, `replace` them by the unknown symbol, or `skip` them.

    Raises:
        CharlmError: A value is out of range, or a text is not valid Unicode.
    """

    prompt: str
    _: KW_ONLY
    length: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    stop: str | None = None
    end: bool = True
    on_unknown: OnUnknown = "error"

    def __post_init__(self) -> None:
        choices = get_args(OnUnknown)
        for name, valid, expected in (
            ("length", self.length >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature <= sys.float_info.max, "0 (greedy) or more"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more, or none"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1, or none"),
            ("seed", 0 <= self.seed < 2**63, "from 0 to 2^63 - 1"),
            ("stop", self.stop != "", "one or more characters, or none"),
            ("on_unknown", self.on_unknown in choices, f"one of {', '.join(choices)}"),
        ):
            if not valid:
                raise CharlmError(f"sampling.{name}: {getattr(self, name)!r} is not {expected}")
        check_unicode(self.prompt, "sampling.prompts")
        check_unicode(self.stop or "", "sampling.stop")

    def repeated(self, num_samples: int) -> Iterator[Self]:
        """Yield this request several times, with the seeds `seed`, `seed` + 1 and so on."""
        for number in range(num_samples):
            yield replace(self, seed=self.seed + number)


class Sampler:
    """Draws a token for each row of a batch, each with the settings of its own request.

    The unknown symbol is never drawn.
    """

    def __init__(self, requests: Sequence[SampleRequest], vocabulary: Vocabulary) -> None:
        size = len(vocabulary)
        temperature = torch.tensor(
            [[request.temperature] for request in requests], dtype=torch.float64
        )
        greedy = temperature < MIN_TEMPERATURE
        self._temperature = temperature.masked_fill(greedy, 1.0)
        self._top_k = torch.tensor([[min(request.top_k or size, size)] for request in requests])
        self._top_k.masked_fill_(greedy, 1)
        self._top_p = torch.tensor(
            [[request.top_p or 1.0] for request in requests], dtype=torch.float64
        )
        self._never_drawn = torch.zeros(len(requests), size, dtype=torch.bool)
        if vocabulary.unknown is not None:
            self._never_drawn[:, vocabulary.unknown] = True
        if vocabulary.end_of_document is not None:
            endless = torch.tensor([not request.end for request in requests])
            self._never_drawn[:, vocabulary.end_of_document] = endless

    def draw(self, logits: Tensor, uniform: Tensor) -> list[int]:
        """Draw a token for each row, by inverse transform sampling.

        Args:
            logits: float64 of shape (rows, V); changed in place.
            uniform: Random numbers from [0, 1), float64 of shape (rows,): positions in the
                cumulative distribution of the symbols, the likeliest first.
        """
        logits.masked_fill_(self._never_drawn, -torch.inf)
        ordered, tokens = torch.sort(logits / self._temperature, descending=True, stable=True)
        probability = torch.softmax(ordered, dim=1)
        probability_above = probability.cumsum(1) - probability
        rank = torch.arange(logits.shape[1])
        beyond_top_p = (probability_above >= self._top_p) & (rank > 0)
        probability[(rank >= self._top_k) | beyond_top_p] = 0
        cumulative = probability.cumsum(1)
        positions = torch.searchsorted(
            cumulative, uniform[:, None] * cumulative[:, -1:], right=True
        )
        last = (probability > 0).sum(1, keepdim=True) - 1  # rounding may lead beyond it
        return [int(token) for token in tokens.gather(1, torch.minimum(positions, last))]


def random_numbers(seed: int, prompt: Sequence[int]) -> Iterator[float]:
    """Yield the random numbers from [0, 1) of one sample, without end.

    They depend on the prompt's tokens as well as on the seed: with the same numbers, samples of
    different prompts would become the same text as soon as their states are similar.
    """
    (mixed_seed,) = np.random.SeedSequence([seed, *prompt]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(mixed_seed))
    while True:
        yield from torch.rand(256, generator=generator, dtype=torch.float64).tolist()
