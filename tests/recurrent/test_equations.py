"""The equations against PyTorch's layers: every result, and every gradient against autograd."""

import torch

from charlm.recurrent import equations

T, B, I, H = 4, 3, 5, 8  # noqa: E741


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_lstm() -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(I, H, dtype=torch.float64)
    weights = list(layer.parameters())
    inputs, h, c = (t.requires_grad_() for t in (random(T, B, I), random(B, H), random(B, H)))
    expected, (last_h, last_c) = layer(inputs, (h[None], c[None]))
    d_outputs, d_h, d_c = random(T, B, H), random(B, H), random(B, H)
    loss = (expected * d_outputs).sum() + (last_h[0] * d_h).sum() + (last_c[0] * d_c).sum()
    gradients = torch.autograd.grad(loss, [inputs, h, c, *weights])

    with torch.no_grad():
        outputs, end, steps = equations.lstm(inputs, h, c, *weights)
        found = equations.lstm_backward(steps, weights[0], weights[1], d_outputs, d_h, d_c)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(end, last_c[0])
    torch.testing.assert_close([*found, found[-1]], list(gradients))
    assert len(steps) == T
    torch.testing.assert_close(steps[2].h, expected[1])
    torch.testing.assert_close(steps[3].o * steps[3].tanh_c, expected[3])


def test_gru() -> None:
    torch.manual_seed(0)
    layer = torch.nn.GRU(I, H, dtype=torch.float64)
    weights = list(layer.parameters())
    inputs, h = (t.requires_grad_() for t in (random(T, B, I), random(B, H)))
    expected, last_h = layer(inputs, h[None])
    d_outputs, d_h = random(T, B, H), random(B, H)
    loss = (expected * d_outputs).sum() + (last_h[0] * d_h).sum()
    gradients = torch.autograd.grad(loss, [inputs, h, *weights])

    with torch.no_grad():
        outputs, steps = equations.gru(inputs, h, *weights)
        found = equations.gru_backward(steps, weights[0], weights[1], d_outputs, d_h)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(list(found), list(gradients))
    assert len(steps) == T
    torch.testing.assert_close(steps[2].h, expected[1])
