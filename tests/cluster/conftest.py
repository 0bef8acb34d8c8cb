"""A Slurm for the tests that ask for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.cluster.slurm import Cluster
from tests.conftest import TINY, Checkout, new_checkout


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of one node, which ends with the tests."""
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    with slurm.one_node(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which the tiny preset has run as far as a training needs; not to be changed."""
    made = new_checkout(tmp_path_factory.mktemp("encoded"))
    done = made.snakemake("encode", "--configfile", TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def encoded_copy(encoded: Checkout, tmp_path: Path) -> Checkout:
    """The same, to change at will."""
    return encoded.copy(tmp_path / "copy")
