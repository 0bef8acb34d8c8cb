"""A trained model with its vocabulary: what `charlm.load` returns."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from charlm.errors import CharlmError
from charlm.model.base import LanguageModel
from charlm.model.devices import choose_device
from charlm.model.generation import BATCH_SIZE, generate_tokens
from charlm.model.sampling import OnUnknown, SampleRequest
from charlm.model.scoring import predictions
from charlm.model.store import load_model
from charlm.progress import progress
from charlm.text.symbols import check_unicode
from charlm.text.vocabulary import Vocabulary


class Continuation(NamedTuple):
    """The text of a sample, and why it ends.

    Attributes:
        text: The text, without the prompt.
        finish_reason: `end` of the document, `stop` text, or `length` limit.
    """

    text: str
    finish_reason: Literal["end", "stop", "length"]


def load(folder: str | Path, *, device: str | torch.device = "cpu") -> "TrainedModel":
    """Load a trained model from its folder, `results/{corpus}/models/{model}`.

    Args:
        folder: The folder.
        device: Where to compute: `auto` (CUDA, then MPS, then the CPU), `cpu`, `cuda`, `cuda:N`,
            `mps`, or a `torch.device`.

    Raises:
        CharlmError: A file is missing, damaged or foreign, or this machine has no such device.
    """
    return TrainedModel(*load_model(folder, device=choose_device(device)))


class TrainedModel:
    """A trained model with its vocabulary: generates text, and scores text."""

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
        end: bool = True,
        on_unknown: OnUnknown = "error",
    ) -> list[str]:
        """Return continuations of `prompt`, without the prompt itself.

        The samples have the seeds `seed`, `seed` + 1 and so on. A seed always gives the same text,
        however many samples are drawn with it.

        Args:
            prompt: The text to continue.
            length: Maximum number of symbols to write.
            temperature: Divides the logits; 0 always takes the likeliest symbol.
            top_k: Draw from this many likeliest symbols only.
            top_p: Draw from the likeliest symbols whose probabilities add up to this.
            seed: Seed of the first sample.
            num_samples: Number of samples.
            stop: A sample ends before this text.
            end: Whether the end of a document ends a sample; otherwise it is never drawn.
            on_unknown: What to do with characters of the prompt that are not in the vocabulary:
                `error`, `replace` or `skip`.

        Raises:
            CharlmError: A value is out of range, or the prompt has unknown characters.
        """
        if num_samples < 1:
            raise CharlmError(f"sampling.num_samples: {num_samples} is not 1 or more")
        request = SampleRequest(
            prompt,
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
            end=end,
            on_unknown=on_unknown,
        )
        return [sample.text for sample in self.draw(list(request.repeated(num_samples)))]

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
        end: bool = True,
        on_unknown: OnUnknown = "error",
    ) -> Iterator[str]:
        """Return an iterator over the pieces of one sample, as they are drawn.

        They add up to what `generate` returns for the same arguments.
        """
        return self.pieces(
            SampleRequest(
                prompt,
                length=length,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                stop=stop,
                end=end,
                on_unknown=on_unknown,
            )
        )

    def pieces(self, request: SampleRequest) -> Iterator[str]:
        """Yield the text of one request piece by piece, as it is drawn."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        held_back = ""  # it might be the beginning of the stop text
        for (token,) in generate_tokens(self.model, self.vocabulary, [request]):
            if token is not None and token != self.vocabulary.end_of_document:
                if self.vocabulary.unit == "byte":
                    held_back += decoder.decode(bytes([token]))
                else:
                    held_back += self.vocabulary.decode([token])
                free = len(held_back) - len(request.stop or " ") + 1
                if free > 0 and not (request.stop and request.stop in held_back):
                    yield held_back[:free]
                    held_back = held_back[free:]
        held_back += decoder.decode(b"", final=True)
        yield _before(request.stop, held_back)

    def draw(self, requests: Sequence[SampleRequest]) -> list[Continuation]:
        """Return the sample of each request, and show progress meanwhile."""
        total = sum(request.length for request in requests)
        with progress(total, "sampling", unit="symbol") as bar:
            return list(self.samples(requests, bar.update))

    def samples(
        self,
        requests: Iterable[SampleRequest],
        on_step: Callable[[int], object] = lambda drawn: None,
    ) -> Iterator[Continuation]:
        """Yield the sample of each request, drawing a batch at a time.

        Args:
            requests: The samples to draw.
            on_step: Called at each step with the number of symbols drawn.
        """
        requests = iter(requests)
        while batch := list(islice(requests, BATCH_SIZE)):
            written: list[list[int]] = [[] for _ in batch]
            for tokens in generate_tokens(self.model, self.vocabulary, batch):
                for row, token in enumerate(tokens):
                    if token is not None:
                        written[row].append(token)
                on_step(sum(token is not None for token in tokens))
            for request, tokens_of_one in zip(batch, written, strict=True):
                yield self._continuation(request, tokens_of_one)

    def _continuation(self, request: SampleRequest, tokens: list[int]) -> Continuation:
        if tokens[-1:] == [self.vocabulary.end_of_document]:
            return Continuation(self.vocabulary.decode(tokens[:-1]), "end")
        text = self.vocabulary.decode(tokens)
        if request.stop and request.stop in text:
            return Continuation(_before(request.stop, text), "stop")
        return Continuation(text, "length")

    def score(self, text: str) -> float:
        """Return the nats per character of `text`, read as a document of its own.

        Raises:
            CharlmError: The text is empty or not valid Unicode, or has an unknown character for
                which the vocabulary has no symbol.
        """
        check_unicode(text, "score")
        if not text:
            raise CharlmError("score: the text is empty; give at least one character")
        tokens = self.vocabulary.encode(text)
        (found,) = predictions(self.model, [tokens], self.vocabulary.end_of_document)
        unknown = self.vocabulary.count_unknown(text)
        nats = float(found["nats"].sum(dtype=np.float64)) + unknown * self.vocabulary.unknown_nats
        return nats / len(text)


def _before(stop: str | None, text: str) -> str:
    """Return what comes before the stop text."""
    return text.split(stop)[0] if stop else text
