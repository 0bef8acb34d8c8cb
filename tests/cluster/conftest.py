"""A Slurm for the tests that ask for one."""

from collections.abc import Iterator

import pytest

from tests.cluster import slurm
from tests.cluster.slurm import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of one node, which ends with the tests."""
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    with slurm.one_node(tmp_path_factory.mktemp("slurm")) as started:
        yield started
