"""The charts."""

import resource

import pytest

from charlm.errors import CharlmError
from charlm.report.figures import learning_curves


def test_too_little_address_space_is_an_error() -> None:
    """The renderer would end the process."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (32 << 30, limits[1]))
        with pytest.raises(CharlmError, match="with `ulimit -v 33554432`; run `ulimit -v unlimi"):
            learning_curves([], {"ngram": 2.0})
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "<svg" in learning_curves([], {"ngram": 2.0}).wide
