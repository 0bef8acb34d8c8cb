"""The digest of a stage covers the modules that it imports; modules import only lower layers."""

import ast
import graphlib
from pathlib import Path

import pytest

import charlm
from charlm.code_digest import code_digest, source_files

PACKAGE = Path(charlm.__file__).parent
SCRIPTS = PACKAGE.parent.parent / "workflow/scripts"
# A package or module of one row imports only from the rows above it, and from itself.
LAYERS = (
    ("errors", "code_digest", "escaping", "job_benchmarks", "json_types"),
    ("files", "progress", "settings"),
    ("checksums",),
    ("text", "recurrent"),
    ("model",),
    ("training", "evaluation"),
    ("report",),
    ("pipeline",),
    ("cli",),
)
MODULES = sorted(
    "charlm." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def test_the_sources_of_a_stage_are_its_imports() -> None:
    names = source_files(SCRIPTS / "vocabulary.py")
    assert "charlm.text.symbols" in names
    assert "charlm.errors" in names
    assert not [name for name in names if name.startswith("charlm.recurrent")]
    assert "charlm.recurrent.layers" in source_files(SCRIPTS / "train_model.py")


def test_the_digest_changes_with_the_content_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text("from charlm.b import x\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    monkeypatch.setattr("charlm.code_digest.PACKAGE", tmp_path)
    before = code_digest(tmp_path / "a.py")
    (tmp_path / "b.py").touch()
    assert code_digest(tmp_path / "a.py") == before
    (tmp_path / "b.py").write_text("x = 2\n")
    assert code_digest(tmp_path / "a.py") != before


def imports(module: str) -> set[str]:
    """Return the modules of charlm that a module imports, including imports within functions."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found.intersection(MODULES)


def test_every_module_has_a_layer() -> None:
    names = [name for layer in LAYERS for name in layer]
    assert sorted(names) == sorted({module.split(".")[1] for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_a_higher_layer(module: str) -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    own = module.split(".")[1]
    others = {name.split(".")[1] for name in imports(module)} - {own}
    assert not [name for name in others if level[name] >= level[own]]


def test_no_imports_are_circular() -> None:
    order = graphlib.TopologicalSorter({module: imports(module) for module in MODULES})
    assert len(list(order.static_order())) == len(MODULES)
