"""The values of dropout masks, the share of zeros, and what masks depend on."""

import pytest
import torch

from charlm.recurrent.dropout import dropout_mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_a_mask_is_zero_as_often_as_asked(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = dropout_mask(torch.zeros(30, 1001, dtype=dtype), probability)
    assert mask.shape == (30, 1001)
    assert mask.dtype == dtype
    scale = torch.tensor(1 / (1 - probability), dtype=dtype)
    assert set(mask.unique().tolist()) == {0.0, scale.item()}
    dropped = (mask == 0).double()
    wanted, spread = probability, (probability * (1 - probability)) ** 0.5
    assert abs(dropped.mean() - wanted) < 5 * spread / 30030**0.5
    for apart in range(1, 9):  # four numbers come from one draw: neighbours must not go together
        both = (dropped[:, apart:] * dropped[:, :-apart]).mean()
        assert abs(both - wanted**2) < 5 * wanted * (1 - wanted**2) ** 0.5 / 29700**0.5


def test_nothing_or_all_is_dropped_at_the_ends() -> None:
    assert (dropout_mask(torch.zeros(4097), 0.0) == 1).all()
    assert (dropout_mask(torch.zeros(4097), 1.0) == 0).all()
    assert dropout_mask(torch.zeros(0, 3), 0.5).shape == (0, 3)


def test_a_mask_is_a_function_of_the_seed() -> None:
    made = []
    before = torch.get_num_threads()
    try:
        for seed, threads in ((1, 1), (1, 2), (2, 1)):
            torch.set_num_threads(threads)
            torch.manual_seed(seed)
            made.append(dropout_mask(torch.zeros(300, 1000), 0.4))
    finally:
        torch.set_num_threads(before)
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()
