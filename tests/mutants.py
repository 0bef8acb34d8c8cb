"""Mutation testing: does a test fail if a small fault is put into the code?

    python -m tests.mutants [--sample N] [--minutes M] [--processes P] [PATH ...]

Each module in `mutants.toml` has a fixed sample of mutants. For each mutant, the module's tests run
in a copy of the working tree up to the first failure. A mutant that passes them survives: either a
test is missing, or `mutants.toml` says why none can exist. Results are kept in `.mutants`, so a run
can be stopped and continued. After a change to a module all its mutants are tested again; after a
change to its tests, only the survivors.

The mutants are those of Cosmic Ray, and deleted statements and keyword arguments.
"""

import argparse
import contextlib
import difflib
import hashlib
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from filelock import FileLock

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "charlm"
WORK = ROOT / ".mutants"
SETTINGS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

GOAL = 0.1
"""The highest acceptable share of survivors."""

CHECKS = ("encoding", "frozen", "strict")
"""Keyword arguments without an effect on correct code; their mutants are left out."""

MEMORY = 16 << 30
"""Limit on the address space of each process, in bytes."""


class DeleteStatement(Operator):  # type: ignore[misc]
    """Replace a call, `raise` or assignment to an item or attribute by `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "simple_stmt" and self._has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        code = node.get_first_leaf().prefix + "pass"
        node.children[0] = parso.parse(code)  # type: ignore[no-untyped-call]
        return node

    @staticmethod
    def _has_effect(statement: Any) -> bool:
        if statement.type != "expr_stmt":
            return statement.type in ("atom_expr", "raise_stmt")
        # Deleting the assignment of a name would only cause a NameError.
        target, operator = statement.children[:2]
        return target.type == "atom_expr" or getattr(operator, "value", "=") != "="

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DeleteKeywordArgument(Operator):  # type: ignore[misc]
    """Remove a keyword argument from a call."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for child in self._arguments(node):
            yield child.start_pos, child.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        place = node.children.index(self._arguments(node)[index])
        last = place + 1 == len(node.children)
        del node.children[place - last : place + 1 + (not last and node.type == "arglist")]
        return node

    @staticmethod
    def _arguments(node: Any) -> list[Any]:
        if node.type not in ("arglist", "trailer"):
            return []
        return [
            child
            for child in node.children
            if child.type == "argument" and getattr(child.children[1], "value", "") == "="
        ]

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def operators() -> Iterator[Operator]:
    """Yield the operators, except those whose mutants all fail with a TypeError."""
    alike = [
        {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
        {"RShift", "LShift", "BitOr", "BitAnd", "BitXor"},
        {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
        {"Is", "IsNot"},
    ]
    for name in operator_names():
        kind, *words = name.split("/")[1].split("_")
        binary = kind in ("ReplaceBinaryOperator", "ReplaceComparisonOperator")
        if binary and not any(group.issuperset(words) for group in alike):
            continue
        if not get_operator(name).arguments():
            yield get_operator(name)()
    yield DeleteStatement()
    yield DeleteKeywordArgument()


@dataclass(frozen=True)
class Mutant:
    """A module with one fault."""

    module: str
    """Path below src/charlm."""
    where: str
    """The class and function with the fault."""
    diff: str
    """The removed lines (`- …`) and added lines (`+ …`), without their indentation."""
    source: str

    @property
    def key(self) -> str:
        return digest(self.module, self.source)


def digest(*parts: str | bytes) -> str:
    """Return a hash of several texts."""
    joined = hashlib.sha256()
    for part in parts:
        joined.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return joined.hexdigest()


def sample_mutants(path: Path, number: int) -> tuple[int, list[Mutant]]:
    """Return the number of places where a module can be mutated, and mutants of some of them.

    Each place has at most one mutant. The choice of places and mutants depends only on the text of
    their lines and on the names of their functions, so other changes to the module do not change
    the sample.
    """
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    tree = get_ast(source)
    places: dict[tuple[tuple[int, int], tuple[int, int]], list[tuple[Operator, int]]]
    places = defaultdict(list)
    nodes = list(ast_nodes(tree))
    for operator in operators():
        found = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, place in enumerate(found):
            if not is_inert(leaf_at(tree, place[0])):
                places[place].append((operator, occurrence))
    ranked = []
    seen: Counter[str] = Counter()
    for place in sorted(places):
        (line, column), _ = place
        text = lines[line - 1]
        where = enclosing(leaf_at(tree, place[0]))
        rank = digest(where, text.strip(), str(column - len(text) + len(text.lstrip())))
        seen[rank] += 1
        ranked.append((digest(rank, str(seen[rank])), where, places[place]))
    mutants: list[Mutant] = []
    for rank, where, variants in sorted(ranked, key=lambda each: each[0]):
        if len(mutants) == number:
            break
        operator, occurrence = variants[int(rank, 16) % len(variants)]
        mutated = mutate_code(source, operator, occurrence)
        if compiles(mutated):
            name = path.relative_to(PACKAGE).as_posix()
            mutants.append(Mutant(name, where, changed_lines(source, mutated), mutated))
    return len(places), mutants


def leaf_at(tree: Any, position: tuple[int, int]) -> Any:
    """Return the token that begins at a position."""
    line, column = position
    return tree.get_leaf_for_position((line, column + 1))  # the token before it ends at `position`


def is_inert(leaf: Any) -> bool:
    """Return whether a mutant here would say nothing about the tests."""
    if leaf.parent.type == "parameters":  # the * before keyword-only parameters
        return True
    node = leaf
    while node.parent is not None:
        up = node.parent
        if (
            (up.type == "annassign" and node is up.children[1])
            or (up.type == "tfpdef" and node is up.children[2])
            or (up.type == "funcdef" and node is up.annotation)
            or (up.type == "argument" and up.children[0].get_code().strip() in CHECKS)
            # Cosmic Ray cannot replace an exception's dotted name.
            or (up.type == "except_clause" and leaf.parent.type == "atom_expr")
        ):
            return True
        node = up
    return False


def enclosing(node: Any) -> str:
    """Return the dotted name of the class and function around a node."""
    names: list[str] = []
    while node is not None:
        if node.type in ("funcdef", "classdef"):
            names.insert(0, node.name.value)
        node = node.parent
    return ".".join(names)


def changed_lines(before: str, after: str) -> str:
    """Return a diff without context, indentation and line numbers."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    lines = [(line[0], line[1:].strip()) for line in list(diff)[2:]]
    return "\n".join(f"{sign} {text}" for sign, text in lines if sign in "+-" and text)


def compiles(source: str) -> bool:
    """Return whether a text is valid Python."""
    try:
        compile(source, "", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


@cache
def tests_of(module: str) -> tuple[str, ...]:
    """Return the test files of a module."""
    path = Path(module)
    tests = sorted((ROOT / "tests" / path.parent).glob(f"test_*{path.stem}*.py"))
    tests += sorted((ROOT / "tests" / path.parent.parent).glob(f"test_*{path.parent.name}*.py"))
    tests += [ROOT / "tests" / name for name in SETTINGS["tests"].get(module, ())]
    if not tests:
        sys.exit(f"{module}: no tests; name some in {Path(__file__).with_suffix('.toml')}")
    return tuple(path.relative_to(ROOT).as_posix() for path in tests)


@cache
def tests_digest(module: str) -> str:
    """Return a hash of the tests of a module."""
    return digest(*((ROOT / name).read_bytes() for name in tests_of(module)))


def modules(chosen: Iterable[str]) -> list[Path]:
    """Return the modules below the given paths, by default below those in the settings."""
    found = []
    for name in chosen or SETTINGS["paths"]:
        path = PACKAGE / name
        if not path.exists():
            sys.exit(f"{path}: no such file")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    skipped = {PACKAGE / name for name in SETTINGS["skipped"]}
    return [path for path in found if path.name != "__init__.py" and path not in skipped]


def copy_tree(folder: Path) -> Path:
    """Copy the working tree into a new repository; some tests ask git for its files."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def run_tests(tree: Path, module: str, timeout: float | None) -> tuple[str, str]:
    """Run the tests of a module; return `killed`, `survived` or `timeout`, and the output."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    scratch = tree.with_name(f"{tree.name}-tmp")
    environment = {
        "PYTHONPATH": str(tree / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",  # a mutant can have the size and time of the original
        "NUMBA_CACHE_DIR": str(tree.with_name("numba")),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    process = subprocess.Popen(
        [*pytest, f"--basetemp={scratch}", *tests_of(module)],
        cwd=tree,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
        return "killed" if process.returncode else "survived", output
    except subprocess.TimeoutExpired:
        return "timeout", ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Results:
    """The outcomes of the mutants, stored in a JSON-lines file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                self.known[result["key"]] = result

    def get(self, mutant: Mutant) -> str | None:
        """Return `killed`, `timeout` or `survived`, or None if the mutant must be tested."""
        result = self.known.get(mutant.key)
        if result is None or (
            result["outcome"] == "survived" and result["tests"] != tests_digest(mutant.module)
        ):
            return None
        return str(result["outcome"])

    def add(self, mutant: Mutant, outcome: str, seconds: float) -> None:
        """Record an outcome."""
        result = {
            "key": mutant.key,
            "module": mutant.module,
            "where": mutant.where,
            "diff": mutant.diff,
            "outcome": outcome,
            "seconds": round(seconds, 1),
            "tests": tests_digest(mutant.module),
        }
        self.known[mutant.key] = result
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, ensure_ascii=False) + "\n")


def test_all(mutants: list[Mutant], results: Results, *, processes: int, deadline: float) -> None:
    """Test mutants, in order, until the deadline."""
    trees: queue.Queue[Path] = queue.Queue()
    for number in range(processes):
        trees.put(copy_tree(WORK / f"tree-{number}"))
    left = len(mutants)

    def unmutated(module: str) -> float:
        """Return the time of a module's tests without a mutant, in seconds."""
        tree = trees.get()
        start = time.monotonic()
        outcome, output = run_tests(tree, module, None)
        trees.put(tree)
        if outcome != "survived":
            sys.exit(f"{output}\n{module}: its tests fail without a mutant")
        return time.monotonic() - start

    def test(mutant: Mutant) -> None:
        nonlocal left
        if time.monotonic() > deadline:
            return
        tree = trees.get()
        path = tree / PACKAGE.relative_to(ROOT) / mutant.module
        original = path.read_bytes()
        start = time.monotonic()
        try:
            path.write_text(mutant.source, encoding="utf-8")
            outcome, _ = run_tests(tree, mutant.module, 60 + 4 * needed[mutant.module])
        finally:
            path.write_bytes(original)
            trees.put(tree)
        results.add(mutant, outcome, time.monotonic() - start)
        left -= 1
        print(f"{left:5} left; {outcome:8} {mutant.module} {mutant.where}", flush=True)

    with ThreadPoolExecutor(processes) as pool:
        names = sorted({mutant.module for mutant in mutants})
        needed = dict(zip(names, pool.map(unmutated, names), strict=True))
        try:
            for _ in pool.map(test, mutants):
                pass
        except BaseException:
            deadline = 0.0
            raise


def report(places: dict[str, int], mutants: list[Mutant], results: Results) -> bool:
    """Print the counts and the survivors; return whether the goal is reached."""
    reasons = {
        (entry["module"], entry["where"], entry["diff"].strip()): entry
        for entry in SETTINGS.get("survivor", ())
    }
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for mutant in mutants:
        outcome = results.get(mutant) or "not run"
        entry = reasons.get((mutant.module, mutant.where, mutant.diff))
        if outcome == "survived":
            if entry and entry["equivalent"]:
                outcome = "equivalent"
            else:
                survivors.append((mutant, entry))
        for name in (mutant.module, "all"):
            counts[name].update(["sampled", outcome])

    print(f"{'module':28} places sampled killed timeout survived equivalent not run  rate")
    for name in [*places, "all"]:
        count = counts[name]
        tested = count["killed"] + count["timeout"] + count["survived"]
        rate = count["survived"] / max(tested, 1)
        print(
            f"{name:28} {places.get(name, sum(places.values())):6} {count['sampled']:7} "
            f"{count['killed']:6} {count['timeout']:7} {count['survived']:8} "
            f"{count['equivalent']:10} {count['not run']:7} {rate:5.1%}"
        )
    for mutant, entry in survivors:
        print(
            f"\n[[survivor]]\nmodule = {mutant.module!r}\nwhere = {mutant.where!r}\n"
            f"diff = '''\n{mutant.diff}\n'''\nequivalent = false\n"
            f"reason = {entry['reason'] if entry else '?'!r}"
        )
    for entry in SETTINGS.get("survivor", ()):
        path = PACKAGE / entry["module"]
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = [line.strip() for line in text.splitlines()]
        if any(line[2:] not in lines for line in entry["diff"].splitlines() if line[:1] == "-"):
            print(f"\nOut of date, as the module has changed: {entry['module']}\n{entry['diff']}")
    if counts["all"]["not run"]:
        print("\nThe time is up; run this again to continue.")
    return rate <= GOAL and all(entry for _, entry in survivors)


def main() -> None:
    parser = argparse.ArgumentParser(description="Put faults into the code; see which tests fail.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="below src/charlm, e.g. text")
    parser.add_argument("--sample", type=int, default=30, help="number of mutants per module")
    parser.add_argument(
        "--minutes", type=float, default=60, help="start no more mutants after this time"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    deadline = time.monotonic() + 60 * chosen.minutes
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    WORK.mkdir(exist_ok=True)
    lock = FileLock(WORK / "lock")
    lock.acquire()  # a second run waits for the first
    results = Results(WORK / "results.jsonl")
    places, samples = {}, []
    for path in modules(chosen.paths):
        name = path.relative_to(PACKAGE).as_posix()
        places[name], sample = sample_mutants(path, chosen.sample)
        samples.append(sample)
    # Modules take turns, so that a run that is stopped has tested mutants of all of them.
    mutants = [mutant for turn in zip_longest(*samples) for mutant in turn if mutant]
    todo = [mutant for mutant in mutants if results.get(mutant) is None]
    if todo:
        test_all(todo, results, processes=chosen.processes, deadline=deadline)
    sys.exit(not report(places, mutants, results))


if __name__ == "__main__":
    main()
