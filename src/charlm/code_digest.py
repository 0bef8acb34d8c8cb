"""A digest of the code that makes a result."""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def source_files(script: str | Path) -> dict[str, Path]:
    """Return the files of a script and of all modules of charlm that it imports, by name.

    They include the modules' templates, but not `charlm/__init__.py`, which imports other modules
    only on demand.
    """
    files = {"": Path(script)}
    waiting = list(_imports(files[""].read_bytes()))
    while waiting:
        name = waiting.pop()
        if name in files or not name.startswith("charlm."):
            continue
        path = PACKAGE.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.exists():
            continue  # a function or a class
        files[name] = file
        files |= {str(path.name): path for path in file.parent.glob("templates/*.*")}
        waiting += _imports(file.read_bytes())
    return dict(sorted(files.items()))


@cache
def _imports(source: bytes) -> tuple[str, ...]:
    """Return the names of the modules, functions and classes that a module imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def code_digest(script: str | Path) -> str:
    """Return a digest of a script and of all modules of charlm that it imports.

    Each rule has it as a param, so Snakemake runs a stage again exactly when code that it uses has
    changed. Only the content counts, not the times of the files.
    """
    digest = hashlib.sha256()
    for name, path in source_files(script).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
