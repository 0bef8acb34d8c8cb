"""A model folder may come from anywhere: loading it raises `CharlmError` and takes little memory.

`pytest --hypothesis-profile=all tests/model/test_untrusted.py` tries many more inputs.
"""

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.model.store import load_model, save_model
from tests.model.models import MIXED, VOCABULARY, make
from tests.model.test_store import without_digests


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with experts, without digests, which would find any change."""
    folder = tmp_path_factory.mktemp("good")
    save_model(folder, make(MIXED), vocabulary=VOCABULARY, architecture=MIXED, training={})
    without_digests(folder)
    return folder


ODD: list[Any] = [
    *(None, True, -1, 0, 1, 3, 10**6, 10**12, 10**30, 0.5, float("nan"), float("inf")),
    *("", "gru", "byte", "vocabulary", "\ud800", "a\rb", [], {}, [[[]]], ["word"] * 3),
]
values = st.sampled_from(ODD)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value in a JSON value."""
    found = [path]
    if isinstance(content, dict | list):
        keys = content if isinstance(content, dict) else range(len(content))
        for key in list(keys)[:12]:
            found += places(content[key], (*path, key))
    return found


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a JSON value with another value at a path; a value "gone" removes the key."""
    if not path:
        return value
    copy = content.copy()
    copy[path[0]] = changed(content[path[0]], path[1:], value)
    return copy


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a safetensors file, and the bytes after it."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def with_header(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    draw=st.data(),
    kind=st.sampled_from(["description", "header", "bytes", "cut", "text"]),
)
def test_nothing_but_a_charlm_error_gets_out(good: Path, draw: st.DataObject, kind: str) -> None:
    folder = good.parent / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    description, weights = folder / "model.json", folder / "model.safetensors"
    data = weights.read_bytes()
    if kind == "description":
        content = json.loads(description.read_text())
        for _ in range(draw.draw(st.integers(1, 2))):
            path = draw.draw(st.sampled_from(places(content)))
            content = changed(content, path, draw.draw(values))
        description.write_text(json.dumps(content))
    elif kind == "header":
        header, rest = header_of(data)
        path = draw.draw(st.sampled_from(places(header)))
        dtype = st.sampled_from(["I8", "F16", "F64", "C64", "BOOL", "U64"])
        weights.write_bytes(with_header(changed(header, path, draw.draw(values | dtype)), rest))
    elif kind == "bytes":
        place = draw.draw(st.integers(0, len(data) - 9))
        new = draw.draw(st.binary(min_size=1, max_size=8))
        weights.write_bytes(data[:place] + new + data[place + len(new) :])
    elif kind == "cut":
        weights.write_bytes(data[: draw.draw(st.integers(0, len(data)))])
    else:
        description.write_bytes(draw.draw(st.binary() | st.just(b"[" * 10**5)))
    with suppress(CharlmError):
        load_model(folder)


MEASURE = """
import resource, sys, time
from charlm.errors import CharlmError
from charlm.model.store import load_model

load_model(sys.argv[1])
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
for folder in sys.argv[2:]:
    try:
        load_model(folder)
    except CharlmError:
        continue
    sys.exit(f"{folder} was loaded")
seconds = (time.process_time() - started) / len(sys.argv[2:])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds)
"""

LARGE: list[tuple[tuple[Any, ...], Any]] = [
    (("architecture", "hidden_size"), 20_000),
    (("architecture", "embedding_size"), 10**9),
    (("architecture", "num_layers"), 10**12),
    (("architecture", "members"), 10**9),
    (("architecture", "mixture", "order"), 10**12),
    (("architecture", "mixture", "order"), 0),
    (("architecture", "one_hot"), True),
    (("vocabulary", "symbols"), ["\u4e00"] * 30_000),
]


def test_large_sizes_take_no_memory_and_no_time(good: Path, tmp_path: Path) -> None:
    folders = []
    for number, (path, value) in enumerate(LARGE):
        folder = tmp_path / str(number)
        shutil.copytree(good, folder)
        content = changed(json.loads((folder / "model.json").read_text()), path, value)
        if path[-1] == "symbols":  # a matrix of 30,000 x 30,000 numbers
            content["architecture"]["one_hot"] = True
            content["vocabulary"]["counts"] = [1] * 30_000
        (folder / "model.json").write_text(json.dumps(content))
        folders.append(folder)
    # Counts whose sum is right, modulo 2^64, and whose table would take 16 GB.
    header, data = header_of((good / "model.safetensors").read_bytes())
    start, end = header["experts.tables.word.distinct"]["data_offsets"]
    folder = tmp_path / "counts"
    shutil.copytree(good, folder)
    data = data[:start] + b"\xff" * (end - start) + data[end:]
    (folder / "model.safetensors").write_bytes(with_header(header, data))
    command = [sys.executable, "-c", MEASURE, str(good), *map(str, [*folders, folder])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    megabytes, seconds = map(float, done.stdout.split())
    assert megabytes < 100
    assert seconds < 1
