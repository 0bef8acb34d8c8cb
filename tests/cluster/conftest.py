"""Fixtures of the cluster tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.cluster.slurm import Cluster
from tests.conftest import TINY, Checkout, new_checkout


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of one node, which stops after the tests."""
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    with slurm.one_node(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which the tiny preset has run up to `encode`. Tests must not change it."""
    made = new_checkout(tmp_path_factory.mktemp("encoded"))
    done = made.snakemake("encode", "--configfile", TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def encoded_copy(encoded: Checkout, tmp_path: Path) -> Checkout:
    """A copy of `encoded`, which a test may change."""
    return encoded.copy(tmp_path / "copy")
