"""Run a Slurm of one node, with its own munge, that changes nothing outside its folder."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Checkout

DAEMONS = ("munged", "slurmctld", "slurmd")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
KillWait=30
OverTimeLimit=0
# The node claims these resources, whatever this machine has.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={host} MaxTime=60 State=UP
"""


PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Cluster:
    """A Slurm whose files are all in `folder`.

    Its commands see the folder mounted at /etc/slurm. (The variable SLURM_CONF would not do: the
    plugin does not pass it on to the jobs.)
    """

    folder: Path

    def within(self, *command: str) -> list[str]:
        """Return `command` wrapped so that it sees this Slurm."""
        script = 'mount --bind "$0" /etc/slurm && exec "$@"'
        prefix = ["env", f"PATH={PATH}", "unshare", "--mount", "sh", "-c", script]
        return [*prefix, str(self.folder), *command]

    def ask(self, *command: str) -> str:
        """Return the output of one of Slurm's commands."""
        done = subprocess.run(self.within(*command), capture_output=True, text=True, check=False)
        return done.stdout

    def snakemake(self, checkout: Checkout, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake with the Slurm profile in a copy of the repository."""
        command = [sys.executable, "-m", "snakemake", *arguments, "--profile", "profiles/slurm"]
        command += ["--slurm-init-seconds-before-status-checks", "8"]
        return subprocess.Popen(
            self.within(*command),
            cwd=checkout.folder,
            env=os.environ | {"PYTHONPATH": str(checkout.folder / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def missing() -> str | None:
    """Return why Slurm cannot be started here, or None if it can."""
    absent = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"{', '.join(absent)} not installed; `make test-cluster` installs them"
    return "Slurm's daemons need root" if os.getuid() else None


def configure(folder: Path) -> Cluster:
    """Write the configuration of a Slurm of one node into `folder`."""
    host = socket.gethostname().split(".")[0]
    ports = _free_ports(2)
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, ports=ports, folder=folder))
    # Two fake GPUs, which Slurm grants to jobs, counts and frees like real ones.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    return Cluster(folder)


@contextmanager
def one_node(folder: Path) -> Iterator[Cluster]:
    """Run a Slurm of one node; at the end, cancel its jobs and stop its daemons."""
    cluster = configure(folder)
    munge = [f"--{file}-file={folder}/munge.{file}" for file in ("key", "seed", "pid", "log")]
    with ExitStack() as stack:

        def start(*command: str) -> None:
            with (folder / f"{command[0]}.out").open("wb") as output:
                daemon = subprocess.Popen(cluster.within(*command), stdout=output, stderr=output)
            stack.callback(_end, daemon)

        start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        _wait_for((folder / "munge.socket").exists, folder)
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D", "-N", socket.gethostname().split(".")[0])
        _wait_for(lambda: "idle" in cluster.ask("sinfo", "-ho", "%T"), folder)
        try:
            yield cluster
        finally:
            cluster.ask("scancel", "--user=root")
            _wait_for(lambda: not cluster.ask("squeue", "-h"), folder)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for(condition: Callable[[], bool], folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.out"))
            raise TimeoutError(f"Slurm does not answer:\n{logs}")
        time.sleep(0.2)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
