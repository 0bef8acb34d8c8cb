"""The records that compiled code reads."""

import torch

from charlm.recurrent.cpu.arguments import AddRowsArguments, make_record


def test_a_field_holds_a_number_an_address_or_zero() -> None:
    numbers, sums, scratch = torch.zeros(6, 16), torch.zeros(3, 16), torch.zeros(1)
    arguments = AddRowsArguments(
        rows=6, width=16, batch=2, numbers=numbers, indices=None, sums=sums
    )
    record = make_record(arguments, team=7, scratch=scratch)
    assert {field[0]: getattr(record, field[0]) for field in record._fields_} == {
        "team": 7,
        "scratch": scratch.data_ptr(),
        "rows": 6,
        "width": 16,
        "batch": 2,
        "numbers": numbers.data_ptr(),
        "indices": 0,
        "sums": sums.data_ptr(),
    }
