"""The code of docs/lstm.md runs and gives the numbers in its comments."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "lstm.md"


def test_code_gives_the_numbers_beside_it() -> None:
    names: dict[str, Any] = {}
    checked = 0
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S):
        exec(block, names)
        for line in block.splitlines():
            code, _, comment = line.partition("  # ")
            if comment.startswith("["):
                found = eval(code.partition(" = ")[0], names)
                found = found.tolist() if isinstance(found, torch.Tensor) else found
                expected = ast.literal_eval(comment)
                for ours, theirs in zip(flat(found), flat(expected), strict=True):
                    assert ours == (
                        theirs if isinstance(theirs, str) else pytest.approx(theirs, abs=6e-4)
                    ), line
                checked += 1
    assert checked > 10
    # The step that the page computes by hand is that of the equations.
    torch.testing.assert_close(names["new_h"], names["hidden"][1])
    torch.testing.assert_close(names["new_c"], names["steps"][2].c)


def flat(numbers: object) -> list[object]:
    """Return the numbers of nested lists."""
    return [n for part in numbers for n in flat(part)] if isinstance(numbers, list) else [numbers]
