"""A stage has one name, for its rule, its script, and the function and module that this calls."""

import ast
import re

import pytest

from tests.conftest import ROOT

WORKFLOW = ROOT / "workflow"
HELPERS = {"charlm.pipeline.stage", "charlm.settings"}
"""The modules that scripts use besides that of their stage."""


def rules() -> dict[str, str | None]:
    """Return the script of each rule, None for a rule without one."""
    found: dict[str, str | None] = {}
    for file in (WORKFLOW / "Snakefile", *(WORKFLOW / "rules").glob("*.smk")):
        # A rule ends where the next line without indentation begins.
        for name, body in re.findall(
            r"^ *rule (\w+):\n((?:[ \n].*\n|\n)+)", file.read_text(), re.M
        ):
            script = re.search(r'^    script:\n +"\.\./scripts/(\w+)\.py"$', body, re.M)
            found[name] = script and script[1]
    return found


RULES = rules()
SCRIPTS = sorted(rule for rule, script in RULES.items() if script)


def parsed(script: str) -> ast.Module:
    return ast.parse((WORKFLOW / f"scripts/{script}.py").read_text())


def imported(script: ast.Module) -> dict[str, str]:
    """Return the modules of the charlm functions that a script imports."""
    return {
        alias.name: node.module
        for node in script.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if node.module.startswith("charlm.") and node.module not in HELPERS
    }


def test_every_rule_is_found() -> None:
    text = "".join(file.read_text() for file in (WORKFLOW / "rules").glob("*.smk"))
    assert len(RULES) == len(re.findall(r"^rule ", text, re.M)) + 1  # `all` is in the Snakefile
    assert len(SCRIPTS) == text.count("script:")


def test_a_rule_has_a_script_of_its_own_name() -> None:
    assert {rule: RULES[rule] for rule in SCRIPTS} == {rule: rule for rule in SCRIPTS}
    assert sorted(path.stem for path in (WORKFLOW / "scripts").glob("*.py")) == SCRIPTS


@pytest.mark.parametrize("rule", SCRIPTS)
def test_a_script_names_its_rule(rule: str) -> None:
    assert (ast.get_docstring(parsed(rule)) or "").startswith(f"Rule `{rule}`: ")


@pytest.mark.parametrize("rule", SCRIPTS)
def test_a_script_is_one_call(rule: str) -> None:
    script = parsed(rule)
    docstring, *rest = script.body
    assert isinstance(docstring, ast.Expr)
    *imports, main, start = rest
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert ast.unparse(start) == (
        "if __name__ == '__main__':\n    with stage(snakemake.log[0]):\n        main(snakemake)"
    )
    assert isinstance(main, ast.FunctionDef)
    assert main.name == "main"
    [statement] = main.body
    assert isinstance(statement, ast.Expr)
    call = statement.value
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    assert list(imported(script)) == [call.func.id]
    # Its arguments are attributes of Snakemake's object, their first items, or settings.
    attribute = r"snakemake(\.\w+)+(\[0\])?"
    record = rf"(Architecture|SplitSettings|TrainingSettings)\(\*\*{attribute}\)"
    record += rf"|MixtureSettings\.from_optional\({attribute}, 'mixture'\)"
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        assert re.fullmatch(rf"{attribute}|{record}", ast.unparse(argument))


@pytest.mark.parametrize("rule", SCRIPTS)
def test_a_rule_names_the_function_and_module_of_its_script(rule: str) -> None:
    [(function, module)] = imported(parsed(rule)).items()
    # The rule `evaluate_model` calls `evaluate`; `crate` calls `write_crate`.
    names = {rule, rule.removesuffix("_model")}
    assert function in names or re.sub("^[a-z]+_", "", function) in names
    # The module `vocabulary` holds the class, and `build_vocabulary` the stage.
    assert module.split(".")[-1] in {*names, function}
