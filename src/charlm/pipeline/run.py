"""The Snakemake command of `charlm run`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from charlm.errors import CharlmError
from charlm.pipeline.project import check_installed, project
from charlm.text.sources.formats import FORMATS

CONFIG = "my.yaml"
"""The configuration that `charlm init` writes and `charlm run` takes if none is named."""

DEMO = "config/config.yaml"
"""The configuration for folders without `my.yaml`: the folder's own, or else the demo's."""


def snakemake_command(
    words: Sequence[str], *, cores: str = "all", options: Sequence[str] = ()
) -> list[str]:
    """Return the command that makes targets with the workflow, without the path of Python.

    Args:
        words: Targets, at most one configuration, and options of Snakemake, in any order.
        cores: The number of cores, or `all`.
        options: Further options of Snakemake.

    Raises:
        CharlmError: A package or the configuration is missing, or a word is neither.
    """
    check_installed("run")
    given = [word for word in words if word.startswith("-")]
    names = [word for word in words if not word.startswith("-")]
    configs = [name for name in names if name.endswith((".yaml", ".yml", ".json"))]
    configs = [name for name in configs if not name.startswith("results/")]
    if len(configs) > 1:
        raise CharlmError(f"{configs[1]}: a second configuration; name one")
    targets = [name for name in names if name not in configs]
    for target in targets:
        if "/" not in target and Path(target).suffix.lower() in FORMATS:
            raise CharlmError(f"{target}: not a configuration; run `charlm init {target}` first")
    command = ["snakemake", "--cores", cores, *targets]
    top = project()
    if not (Path("Snakefile").exists() and top.samefile(".")):
        command += ["--snakefile", str(top / "workflow/Snakefile")]
        command += ["--workflow-profile", str(top / "profiles/default")]
    return [*command, "--configfile", _config(configs, top), *options, *given]


def _config(configs: Sequence[str], top: Path) -> str:
    """Return the configuration to use: the given one, `my.yaml`, the folder's or the demo."""
    names = configs or (CONFIG, DEMO)
    for path in (*map(Path, names), top / names[-1]):
        if path.is_file():
            return str(path)
    raise CharlmError(f"{configs[0]}: no such file; `charlm init FILE` writes a configuration")


def python_command(command: Sequence[str]) -> list[str]:
    """Return a command of Snakemake that runs it in this Python; the folder's modules stay out."""
    return [sys.executable, "-P", "-m", *command]


def environment() -> dict[str, str]:
    """Return the environment for Snakemake, which needs a folder for its cache.

    It is within this folder if the user's own cannot be written.
    """
    cache = os.path.abspath(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    )
    while not os.path.exists(cache):
        cache = os.path.dirname(cache)
    if os.access(cache, os.W_OK | os.X_OK):
        return dict(os.environ)
    return os.environ | {"XDG_CACHE_HOME": os.path.abspath(".snakemake/cache")}
