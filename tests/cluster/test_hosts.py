"""Two hosts with separate networks train one model, started by the workflow's rule."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TINY, Checkout, digests

pytestmark = pytest.mark.cluster

FOLDER = Path("results/tiny/models/lstm")
CHECKPOINTS = Path("results/tiny/checkpoints/lstm")
SETTINGS = "{processes: 2, device: cpu, steps: 600, validate_every: 300, checkpoint_every: 20}"
ARGUMENTS = (
    f"{FOLDER}/model.safetensors",
    *("--configfile", TINY, "--config", f"training={SETTINGS}"),
)
HOSTS = tuple(f"charlm-{os.getpid()}-{number}" for number in range(2))
PATIENCE = 20


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def hosts() -> Iterator[None]:
    """Two network namespaces, each with an address, connected by a virtual cable."""
    if os.getuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip (iproute2)")
    made = []
    try:
        for host in HOSTS:
            ip("netns", "add", host)
            made.append(host)
        ends = [("netns", HOSTS[0]), ("peer", "name", "cable", "netns", HOSTS[1])]
        ip("link", "add", "cable", *ends[0], "type", "veth", *ends[1])
        for number, host in enumerate(HOSTS):
            ip("-n", host, "address", "add", f"10.213.7.{number + 1}/24", "dev", "cable")
            ip("-n", host, "link", "set", "cable", "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in made:
            listed = subprocess.run(["ip", "netns", "pids", host], capture_output=True, check=True)
            for process in map(int, listed.stdout.split()):
                os.kill(process, signal.SIGKILL)
            ip("netns", "delete", host)


def start(host: int, checkout: Checkout, *command: str) -> subprocess.Popen[str]:
    """Start a command on a host, with torchrun's variables."""
    variables = {
        "PYTHONPATH": str(checkout.folder / "src"),
        "PET_NNODES": "2",
        "PET_NODE_RANK": str(host),
        "PET_MASTER_ADDR": "10.213.7.1",
        "PET_MASTER_PORT": "29500",
        "GLOO_SOCKET_IFNAME": "cable",
        "CHARLM_PEER_TIMEOUT": str(PATIENCE),
    }
    return subprocess.Popen(
        ["ip", "netns", "exec", HOSTS[host], sys.executable, "-m", *command],
        cwd=checkout.folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_both(checkout: Checkout) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Start the rule on one host, and torchrun on the other, as docs/cluster.md says."""
    first = start(0, checkout, "snakemake", "--cores", "2", *ARGUMENTS)
    file = checkout.folder / CHECKPOINTS / "arguments.json"
    wait_for(file, first)
    program = ("-m", "charlm.training.parallel", str(file.relative_to(checkout.folder)))
    return first, start(1, checkout, "torch.distributed.run", "--nproc-per-node", "1", *program)


def wait_for(pattern: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not any(pattern.parent.glob(pattern.name)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_hosts_train_the_same_model_as_one_even_after_a_lost_connection(
    hosts: None, encoded: Checkout, tmp_path: Path
) -> None:
    alone = encoded.copy(tmp_path / "alone")
    done = alone.snakemake(*ARGUMENTS)
    assert done.returncode == 0, done.stdout + done.stderr
    together = alone.copy(tmp_path / "together")  # with the compiled kernels
    shutil.rmtree(together.folder / FOLDER)

    first, second = start_both(together)
    try:
        wait_for(together.folder / CHECKPOINTS / "step-*", first)
        ip("-n", HOSTS[1], "link", "set", "cable", "down")
        cut = time.monotonic()
        printed, _ = first.communicate(timeout=120)
        assert first.returncode != 0
        assert time.monotonic() - cut < 4 * PATIENCE
        line = "error: training: another process died or has not answered for 20 s"
        assert [each for each in printed.splitlines() if each.startswith(line)], printed
        assert "Traceback" not in printed
    finally:
        for process in (first, second):
            process.kill()
            process.wait()

    (together.folder / CHECKPOINTS / "arguments.json").unlink()
    ip("-n", HOSTS[1], "link", "set", "cable", "up")
    first, second = start_both(together)
    printed, _ = first.communicate(timeout=600)
    said, _ = second.communicate(timeout=300)
    assert first.returncode == second.returncode == 0, printed + said
    assert "resumed from step" in printed
    assert digests(together.folder / FOLDER) == digests(alone.folder / FOLDER)
