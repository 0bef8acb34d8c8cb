"""The examples in docstrings are right."""

import doctest
import importlib

import pytest

from tests.conftest import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT / folder).with_suffix("").parts)
    for folder, pattern in (("src", "charlm/**/*.py"), (".", "benchmarks/*.py"))
    for path in sorted((ROOT / folder).glob(pattern))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_are_right(module: str) -> None:
    failed, tried = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert tried
    assert not failed
