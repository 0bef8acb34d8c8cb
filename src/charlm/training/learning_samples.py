"""Samples from a network while it trains, which show what it has learned so far."""

from typing import TypedDict

from charlm.model.ensemble import Network
from charlm.model.sampling import SampleRequest
from charlm.model.trained_model import TrainedModel
from charlm.text.vocabulary import Vocabulary

TEMPERATURES = (0.5, 0.8, 1.0)
"""One sample for each is drawn. They cost hardly more than one, because batches are padded."""


class LearningSample(TypedDict):
    """A sample from the network as it was after `step` steps."""

    step: int
    temperature: float
    text: str


class LearningSamples(TypedDict):
    """The content of `learning_samples.json`, besides its checksum."""

    samples: list[LearningSample]


def draw_learning_samples(
    model: Network, vocabulary: Vocabulary, *, step: int, length: int
) -> list[LearningSample]:
    """Return the beginnings of documents that a network writes, always with the same seed.

    Training goes on as it would have without them: they have random numbers of their own.

    Args:
        model: The network; it keeps its mode.
        vocabulary: Its vocabulary.
        step: Number of steps made.
        length: Maximum number of symbols of each sample.
    """
    requests = [SampleRequest("", length=length, temperature=each) for each in TEMPERATURES]
    was_training = model.training
    model.eval()
    samples = list(TrainedModel(model, vocabulary).samples(requests))
    model.train(was_training)
    return [
        {"step": step, "temperature": request.temperature, "text": sample.text}
        for request, sample in zip(requests, samples, strict=True)
    ]
