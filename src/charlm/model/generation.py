"""Generating tokens: prompts in, one token per sample and step out."""

from collections.abc import Iterator, Sequence

import torch

from charlm.errors import CharlmError
from charlm.model.base import LanguageModel, State
from charlm.model.sampling import Sampler, SampleRequest, random_numbers
from charlm.text.symbols import split_graphemes
from charlm.text.vocabulary import Vocabulary

BATCH_SIZE = 16
"""Number of samples drawn in parallel. Smaller batches are padded: a matrix product of one fixed
shape gives a sample the same bits whatever else is in the batch."""

WINDOW = 256
"""Long prompts are read in windows of this many tokens. Each prompt is read on its own, so that the
bits of its state do not depend on the other prompts."""


@torch.no_grad()
def generate_tokens(
    model: LanguageModel, vocabulary: Vocabulary, requests: Sequence[SampleRequest]
) -> Iterator[list[int | None]]:
    """Yield the next token of each sample, step by step.

    A sample's token is None in steps in which the sample's prompt is still being read, and after
    the sample has ended. The symbol that ends a document ends its sample.

    Args:
        model: The model, in evaluation mode.
        vocabulary: Its vocabulary.
        requests: The samples, at most `BATCH_SIZE`.

    Raises:
        CharlmError: A prompt has characters that are not in the vocabulary.
    """
    prompts = [encode_prompt(request, vocabulary) for request in requests]
    cuts = [max(0, len(prompt) - 1) // WINDOW * WINDOW for prompt in prompts]
    state = _batch_state_after(
        model, [prompt[:cut] for prompt, cut in zip(prompts, cuts, strict=True)]
    )
    samples = [
        _Sample(request, prompt, cut, vocabulary)
        for request, prompt, cut in zip(requests, prompts, cuts, strict=True)
    ]
    padding = BATCH_SIZE - len(requests)
    sampler = Sampler([*requests, *[SampleRequest("", length=1)] * padding], vocabulary)
    step = model.stepper(BATCH_SIZE, state)
    position = 0  # tokens read
    logits = model.initial_logits(BATCH_SIZE)
    while any(sample.remaining for sample in samples):
        writing = [sample.writes_at(position) for sample in samples]
        if any(writing):
            uniform = torch.zeros(BATCH_SIZE, dtype=torch.float64)
            for row, sample in enumerate(samples):
                if writing[row]:
                    uniform[row] = next(sample.random_numbers)
            drawn = sampler.draw(logits.cpu().double(), uniform)
            for row, sample in enumerate(samples):
                if writing[row]:
                    sample.write(drawn[row])
            yield [drawn[row] if writes else None for row, writes in enumerate(writing)]
        read = [sample.token_at(position) for sample in samples] + [0] * padding
        logits = step(torch.tensor(read, device=model.device))
        position += 1


def encode_prompt(request: SampleRequest, vocabulary: Vocabulary) -> list[int]:
    """Return the tokens of a prompt, after the one that ends the document before.

    Raises:
        CharlmError: The prompt has characters that are not in the vocabulary.
    """
    prompt = request.prompt
    unknown = vocabulary.unknown_characters(prompt)
    if unknown and request.on_unknown == "error":
        raise CharlmError(
            f"sampling.prompts: {prompt!r} has characters that are not in the vocabulary "
            f"({', '.join(map(repr, unknown))}); leave them out, or set sampling.on_unknown "
            "to 'replace' or 'skip'"
        )
    if request.on_unknown == "skip":
        symbols = split_graphemes(prompt) if vocabulary.unit == "grapheme" else prompt
        prompt = "".join(symbol for symbol in symbols if symbol not in unknown)
    start = [] if vocabulary.end_of_document is None else [vocabulary.end_of_document]
    return start + [int(token) for token in vocabulary.encode(prompt)]


class _Sample:
    """The tokens of one sample: the rest of its prompt, then what is written.

    Attributes:
        remaining: Number of tokens still to be written.
        random_numbers: The random numbers with which to draw them.
    """

    def __init__(
        self, request: SampleRequest, prompt: Sequence[int], cut: int, vocabulary: Vocabulary
    ) -> None:
        self._prompt = prompt[cut:]
        self._written: list[int] = []
        self._stop = request.stop
        self._vocabulary = vocabulary
        self.remaining = request.length
        self.random_numbers = random_numbers(request.seed, prompt)

    def writes_at(self, position: int) -> bool:
        """Return whether the token at a position is to be drawn."""
        return self.remaining > 0 and position == len(self._prompt) + len(self._written)

    def token_at(self, position: int) -> int:
        """Return the token to read at a position; any token once the sample has ended."""
        if position < len(self._prompt):
            return self._prompt[position]
        written = position - len(self._prompt)
        return self._written[written] if written < len(self._written) else 0

    def write(self, token: int) -> None:
        """Append a token; the sample ends if it ends the document or completes the stop text."""
        self._written.append(token)
        self.remaining -= 1
        if token == self._vocabulary.end_of_document:
            self.remaining = 0
        elif self._stop:
            # No token is shorter than a byte.
            end = self._written[-len(self._stop.encode("utf-8")) :]
            if self._stop in self._vocabulary.decode(end):
                self.remaining = 0


def _batch_state_after(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> State | None:
    """Return the state of `BATCH_SIZE` streams that have read these prompts, each on its own.

    None stands for the initial state.
    """
    if not any(prompts):
        return None
    batch_state = model.initial_state(BATCH_SIZE)
    states: dict[tuple[int, ...], State] = {(): model.initial_state(1)}
    for row, prompt in enumerate(map(tuple, prompts)):
        if prompt not in states:
            states[prompt] = _state_after(model, prompt)
        for batch_tensor, tensor in zip(batch_state, states[prompt], strict=True):
            batch_tensor[:, row] = tensor[:, 0]
    return batch_state


def _state_after(model: LanguageModel, tokens: Sequence[int]) -> State:
    """Return the state of a single stream that has read some tokens."""
    state = model.initial_state(1)
    for start in range(0, len(tokens), WINDOW):
        window = torch.tensor(tokens[start : start + WINDOW], device=model.device)
        _, state = model(window[:, None], state)
    return state
