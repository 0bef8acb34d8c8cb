"""Which code a result comes from."""

import ast
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent


def source_files(module: str) -> dict[str, Path]:
    """Return the files of `module` and of all modules of charlm that it imports, by name.

    The top-level package itself, which only loads what it is asked for, is left out.
    """
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in files or name == "charlm" or not name.startswith("charlm."):
            continue
        path = PACKAGE.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.exists():
            continue  # a function or class of a module
        files[name] = file
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
    return dict(sorted(files.items()))


def code_digest(module: str) -> str:
    """Return a digest of the source of `module` and of all modules of charlm that it imports.

    A rule has it among its parameters, so that Snakemake runs a stage again when code that it uses
    was edited, and only then: the content counts, not the files' times.
    """
    digest = hashlib.sha256()
    for name, path in source_files(module).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
