"""Which code a result comes from."""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def source_files(script: str | Path) -> dict[str, Path]:
    """Return `script` and the files of all modules of charlm that it imports, by name.

    A module's templates are among them. The top-level package itself, which only loads what it is
    asked for, is left out.
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
            continue  # a function or class of a module
        files[name] = file
        files |= {str(path.name): path for path in file.parent.glob("templates/*.*")}
        waiting += _imports(file.read_bytes())
    return dict(sorted(files.items()))


@cache
def _imports(source: bytes) -> tuple[str, ...]:
    """Return the names that a module imports, those of functions and classes among them."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def code_digest(script: str | Path) -> str:
    """Return a digest of the source of `script` and of all modules of charlm that it imports.

    A rule has it among its parameters, so that Snakemake runs a stage again when code that it uses
    was edited, and only then: the content counts, not the files' times.
    """
    digest = hashlib.sha256()
    for name, path in source_files(script).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
