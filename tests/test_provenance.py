"""A stage depends on the modules that it uses, and on no others."""

import ast
from pathlib import Path

import pytest

import charlm
from charlm.provenance import code_digest, source_files

PACKAGE = Path(charlm.__file__).parent
LAYERS = {
    # A lower layer never imports a higher one: errors -> text -> recurrent -> model -> the rest.
    "charlm.text": ("recurrent", "model", "sampling", "training", "evaluation", "report"),
    "charlm.recurrent": ("text", "model", "sampling", "training", "evaluation", "report"),
    "charlm.model": ("sampling", "training", "evaluation", "report"),
    "charlm.evaluation": ("training", "report"),
    "charlm.sampling": ("training", "report"),
    "charlm.training": ("sampling", "report"),
}
MODULES = sorted(
    "charlm." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def test_the_sources_of_a_stage_are_those_it_imports() -> None:
    names = source_files("charlm.text.vocabulary")
    assert "charlm.text.vocabulary" in names
    assert "charlm.errors" in names
    assert not [name for name in names if name.startswith("charlm.recurrent")]
    assert "charlm.recurrent.layers" in source_files("charlm.training.trainer")


def test_the_digest_follows_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("import charlm.b\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    monkeypatch.setattr("charlm.provenance.PACKAGE", tmp_path)
    before = code_digest("charlm.a")
    (tmp_path / "b.py").touch()
    assert code_digest("charlm.a") == before
    (tmp_path / "b.py").write_text("x = 2\n")
    assert code_digest("charlm.a") != before


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_a_higher_layer(module: str) -> None:
    higher = next((names for layer, names in LAYERS.items() if module.startswith(layer)), ())
    tree = ast.parse((PACKAGE / Path(*module.split(".")[1:]).with_suffix(".py")).read_text())
    imported = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None
    }
    wrong = [name for name in imported for layer in higher if f"charlm.{layer}" in name]
    assert not wrong
    if module not in ("charlm.config", "charlm.command"):
        assert "charlm.config" not in imported
