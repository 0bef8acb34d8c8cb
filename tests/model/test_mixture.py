"""Interpolation: the weighted mean of the network's and the n-gram model's probabilities."""

import torch

from charlm.model.mixture import InterpolatedModel
from tests.model.models import INTERPOLATED, TEXT, make


def test_probabilities_are_averaged_by_weight() -> None:
    model = make(INTERPOLATED).eval()
    assert isinstance(model, InterpolatedModel)
    tokens = torch.tensor(TEXT[:12])[:, None]
    by_network = model.network(tokens)[0][:, 0].softmax(-1)
    histories = [torch.tensor([[8] * 3 + TEXT[:n].tolist()]).T[-3:] for n in range(1, 13)]
    by_ngram = torch.cat([model.ngram(history) for history in histories])
    assert by_ngram[-1].argmax() == TEXT[12]
    expected = 0.7 * by_network + 0.3 * by_ngram
    found = model(tokens)[0][:, 0].softmax(-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    initial = model.network.initial_logits(1).softmax(-1)
    expected = 0.7 * initial + 0.3 * model.ngram(torch.full((3, 1), 8))
    torch.testing.assert_close(model.initial_logits(1).exp(), expected)
