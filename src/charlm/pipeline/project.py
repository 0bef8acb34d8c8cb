"""Where the workflow is: at the top of a clone, or inside the installed package."""

from importlib.util import find_spec
from pathlib import Path

from charlm import DISTRIBUTION
from charlm.code_digest import PACKAGE
from charlm.errors import CharlmError


def project() -> Path:
    """Return the folder with `workflow/`, `profiles/` and `config/`."""
    installed = PACKAGE / "project"
    return installed if installed.is_dir() else PACKAGE.parents[1]


def check_installed(command: str) -> None:
    """Check that the packages of the workflow are installed.

    Raises:
        CharlmError: One is missing.
    """
    for package in ("yaml", "pydantic", "snakemake"):
        if find_spec(package) is None:
            raise CharlmError(
                f"{command}: the package {package} is missing, which the workflow needs; "
                f"run `pip install '{DISTRIBUTION}[workflow]'`"
            )
