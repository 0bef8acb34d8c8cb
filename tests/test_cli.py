"""The command `charlm` on a terminal and in a pipe."""

import codecs
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import charlm
from charlm.cli import main
from charlm.model.network import CharacterLanguageModel
from charlm.model.store import save_model
from charlm.settings import Architecture
from charlm.text.vocabulary import Vocabulary
from tests.training.small import outputs, write_corpus

LETTERS = [*"abcdefgh ,.\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    architecture = Architecture(hidden_size=8, embedding_size=4)
    model = CharacterLanguageModel(14, architecture)
    symbols = [*LETTERS, "<unknown>", "<end_of_document>"]
    vocabulary = Vocabulary(symbols, [1] * 14, {"unknown": 12, "end_of_document": 13})
    save_model(path, model, vocabulary=vocabulary, architecture=architecture, training={})
    return path


def run(*arguments: object, given: str | bytes = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "charlm.cli", *map(str, arguments)]
    data = given if isinstance(given, bytes) else given.encode()
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def failure(*arguments: object, given: str = "") -> str:
    """Return the single line of the command's error."""
    command: list[Any] = [sys.executable, "-m", "charlm.cli"]
    command += [each if isinstance(each, bytes) else str(each) for each in arguments]
    done = subprocess.run(command, input=given.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    return line.removeprefix("charlm: ")


def test_a_sample_is_the_prompt_and_its_continuation(folder: Path) -> None:
    done = run("sample", folder, "--prompt", "bad ", "--length", 30, "--seed", 3)
    expected = charlm.load(folder).generate("bad ", length=30, seed=3, temperature=0.8)[0]
    assert (done.stdout, done.stderr, done.returncode) == (f"bad {expected}\n", "", 0)


def test_samples_as_json_hold_their_settings(folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a\nbé\n")
    options = ["--num-samples", 2, "--stop", ".", "--top-k", 5, "--on-unknown", "skip", "--json"]
    done = run("sample", folder, "--prompts", prompts, *options)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["prompt"], line["seed"]) for line in lines] == [
        ("a", 0),
        ("a", 1),
        ("bé", 0),
        ("bé", 1),
    ]
    model = charlm.load(folder)
    for line in lines:
        text = line.pop("text")
        assert line.pop("finish_reason") in ("end", "stop", "length")
        settings = {"length": 400, "stop": ".", "on_unknown": "skip", **line}
        assert model.generate(settings.pop("prompt"), **settings) == [text]
    plain = run("sample", folder, "--prompts", prompts, *options[:-1]).stdout
    assert plain.startswith("a")
    assert plain.count("\n\n") >= 3


def test_samples_appear_while_others_are_drawn(folder: Path) -> None:
    command = [sys.executable, "-m", "charlm.cli", "sample", str(folder), "--num-samples", "9" * 15]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE) as running:
        assert running.stdout
        seeds = [json.loads(running.stdout.readline())["seed"] for _ in range(20)]
        running.terminate()
    assert seeds == list(range(20))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("command", ["sample", "score"])
def test_the_device_is_used(folder: Path, command: str) -> None:
    expected = "this machine has no 'cuda:1' that PyTorch can use; use 'auto' or 'cpu'"
    assert failure(command, folder, "--device", "cuda:1", given="abc") == expected
    done = run(command, folder, "--device", "auto", given="abc")
    assert (done.stdout, done.returncode) == (run(command, folder, given="abc").stdout, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["MODEL", "FILE"],
        ["MODEL", "--device", "cpu", "FILE"],
        ["--device", "cpu", "MODEL", "FILE"],
        ["MODEL", "FILE", "--device=cpu"],
    ],
)
@pytest.mark.parametrize("place", [0, 1, -1, None])
def test_options_can_stand_anywhere(
    folder: Path,
    tmp_path: Path,
    arguments: list[str],
    place: int | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a bad cafe\nface\n")
    given = [str({"MODEL": folder, "FILE": path}.get(each, each)) for each in arguments]
    if place is not None:
        while given[place] == "cpu":  # the value of --device
            place -= 1
        given.insert(place if place >= 0 else len(given), "--lines")
    assert main(["score", *given]) == 0
    names = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert names == ([str(path)] if place is None else ["a bad cafe", "face"])


def test_texts_can_begin_with_a_dash(folder: Path) -> None:
    done = run("sample", folder, "--on-unknown", "skip", "--stop", "--", "--prompt", "--a")
    assert (done.stdout[:3], done.stderr, done.returncode) == ("--a", "", 0)


def test_a_byte_order_mark_is_not_scored(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"abc\nbad\n")
    expected = run("score", folder, given="abc\nbad\n").stdout
    assert run("score", folder, given=path.read_bytes()).stdout == expected
    assert run("score", folder, path).stdout == expected.replace("-", str(path))
    lines = run("score", folder, "--lines", path).stdout
    assert lines == run("score", folder, "--lines", given="abc\nbad\n").stdout
    # U+FEFF is a byte order mark only at the beginning of a file.
    inside = run("score", folder, "--lines", given="abc\n\ufeffbad\n").stdout.splitlines()
    assert [line.split("\t")[1] for line in inside] == ["3", "4"]


def test_a_file_name_can_hold_any_bytes(folder: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(path)).write_text("abc")
    command: list[str | bytes] = [sys.executable, "-m", "charlm.cli", "score", str(folder), path]
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | ASCII)
    assert (done.stdout.split(b"\t")[2], done.stderr) == (path + b"\n", b"")


def test_output_is_utf8_on_any_terminal(folder: Path) -> None:
    command = [sys.executable, "-m", "charlm.cli", "score", str(folder), "--lines"]
    done = subprocess.run(
        command, input="é東\n".encode(), capture_output=True, check=False, env=os.environ | ASCII
    )
    assert done.stdout.decode().split("\t")[1:] == ["2", "é東\n"], done.stderr


ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("option", ["--prompt", "--stop"])
def test_arguments_that_are_not_utf8_are_errors(folder: Path, option: str) -> None:
    line = failure("sample", folder, option, b"ab\xff")
    assert line.startswith(f"{option}: character 3 is a lone surrogate")


def test_a_full_disk_is_an_error_that_names_the_file(
    folder: Path, corpus: Path, tmp_path: Path
) -> None:
    advice = "File too large; free some space, or write to another disk"
    command = [sys.executable, "-m", "charlm.cli"]

    def limited(kilobytes: int, *arguments: str | Path, unbuffered: str = "") -> str:
        with (tmp_path / "output").open("wb") as output:
            done = subprocess.run(
                ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "_", *command, *arguments],
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            )
        assert done.returncode == 1
        *_, last = done.stderr.splitlines()
        assert "Traceback" not in done.stderr
        return last

    for more in (["--length", "5000"], ["--num-samples", "9"], ["--num-samples", "9", "--json"]):
        assert (
            limited(1, "sample", folder, "--no-end", *more) == f"charlm: standard output: {advice}"
        )
    for unbuffered in ("", "1"):
        last = limited(1, "config", corpus / "my.yaml", unbuffered=unbuffered)
        assert last == f"charlm: standard output: {advice}"
    weights = corpus / "models/small/model.safetensors"
    last = limited(1, "train", corpus / "my.json", "small", "--results", corpus)
    assert last.endswith(f": {advice}")
    assert last.startswith(f"charlm: {corpus}/"), "a file of the model, or a checkpoint"
    assert not weights.exists()


def test_closed_streams_are_errors(folder: Path) -> None:
    command = f"{sys.executable} -m charlm.cli"
    for line, expected in (
        (f"{command} sample {folder} >&-", "standard output: closed; give it a file"),
        (f"{command} score {folder} <&-", "-: standard input is closed; give it a file"),
    ):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"charlm: {expected}")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "Missing command. See charlm --help."),
        (["scores"], "No such command 'scores'. Did you mean 'score'? See charlm --help."),
        (["score"], "Missing argument 'MODEL'. See charlm score --help."),
        (["score", "x", "--line"], "No such option '--line'"),
        (["sample", "x", "y"], "Got unexpected extra argument (y). See charlm sample --help."),
        (["sample", "x", "--length", "ten"], "'--length': 'ten' is not a valid integer."),
        (["sample", "x", "--prompt", "", "--prompts", "a"], "--prompt and --prompts exclude"),
    ],
)
def test_wrong_usage_is_an_error_in_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("charlm: ")
    assert line in said.err
    assert len(said.err.splitlines()) == 1


def test_scores_are_those_of_the_model(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a bad cafe\nface\n")
    done = run("score", folder, path, "-", given="abc\n")
    model = charlm.load(folder)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1:] for row in rows] == [["16", str(path)], ["4", "-"]]
    assert float(rows[0][0]) == pytest.approx(model.score(path.read_text()) / 0.693147, abs=1e-4)
    lines = run("score", "--lines", folder, path).stdout.splitlines()
    assert [line.split("\t")[1:] for line in lines] == [["10", "a bad cafe"], ["4", "face"]]


@pytest.mark.parametrize(
    ("arguments", "given", "line"),
    [
        (["sample", "nowhere"], "", "nowhere/model.json: there is no such file; name the folder"),
        (["sample", "FOLDER", "--prompt", "xa"], "", "--prompt: 'xa' has characters"),
        (["sample", "FOLDER", "--length", "0"], "", "--length: 0 is not 1 or more"),
        (["sample", "FOLDER", "--temperature", "-1"], "", "--temperature: -1.0 is not 0"),
        (["sample", "FOLDER", "--num-samples", "0"], "", "--num-samples: 0 is not 1 or more"),
        (["sample", "FOLDER", "--number", "-3"], "", "--num-samples: -3 is not 1 or more"),
        (["sample", "FOLDER", "--device", "gpu"], "", "unknown device 'gpu'; expected auto, cpu"),
        (["sample", "FOLDER", "--prompts", ""], "", ".: Is a directory; name another"),
        (["sample", "FOLDER", "--top-p", "0"], "", "--top-p: 0.0 is not above 0"),
        (["sample", "FOLDER", "--stop", ""], "", "--stop: '' is not one or more characters"),
        (["sample", "FOLDER", "--prompts", "no.txt"], "", "no.txt: No such file or directory"),
        (["score", "FOLDER"], "", "-: the text is empty; give at least one character"),
        (["score", "FOLDER"], codecs.BOM_UTF8, "-: the text is empty"),
        (["score", "FOLDER", "/dev/null"], "", "/dev/null: the text is empty"),
        (["score", "FOLDER", "--lines"], b"\nab\xff", "-: line 2: not UTF-8; save it as UTF-8"),
        (["score", "FOLDER"], b"ab\xff", "-: not UTF-8; save it as UTF-8"),
        (["score", "FOLDER", "no.txt"], "", "no.txt: No such file or directory"),
        (["score", "FOLDER", "."], "", ".: Is a directory"),
    ],
)
def test_a_wrong_value_is_an_error_in_one_line(
    folder: Path,
    arguments: list[str],
    given: str | bytes,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = given if isinstance(given, bytes) else given.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main([str(folder) if each == "FOLDER" else each for each in arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("charlm: ")
    assert line in said.err
    assert len(said.err.splitlines()) == 1


def test_an_unknown_character_is_explained_in_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(folder), "--prompt", "xa"]) == 1
    said = capsys.readouterr().err
    assert "leave them out, or set --on-unknown to" in said
    assert "sampling." not in said


@pytest.fixture
def results(folder: Path, tmp_path: Path) -> Path:
    """A folder of results with two models; the second is better."""
    for name, bits in (("first", 2.1), ("second", 1.9)):
        shutil.copytree(folder, tmp_path / "results/my/models" / name)
        score = {"validation": None, "test": {"bits_per_character": bits}}
        (tmp_path / f"results/my/models/{name}/metrics.json").write_text(json.dumps(score))
    baselines = {"xz": {"validation": None, "test": {"bits_per_character": 2.0}}}
    (tmp_path / "results/my/baselines.json").write_text(json.dumps(baselines))
    return tmp_path / "results/my"


@pytest.mark.parametrize("below", ["results/my", "."])
def test_without_a_model_the_best_one_writes(
    results: Path, below: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parents[1] / below)
    assert main(["sample", "--prompt", "bad", "--length", "9"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("bad")
    model = "results/my/models/second" if below == "." else "models/second"
    assert said.err == f"charlm: {model} writes\n"


@pytest.mark.parametrize("command", ["sample", "score"])
def test_a_folder_of_results_names_its_models(
    results: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(results)]) == 1
    names = f"{results}/models/first, {results}/models/second"
    message = f"{results}: a folder of results; name one of its models: {names}"
    assert capsys.readouterr().err == f"charlm: {message}\n"


def test_without_a_model_and_results_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample"]) == 1
    assert "no results here; name the folder of a model" in capsys.readouterr().err


def test_a_reader_can_close_the_pipe(folder: Path) -> None:
    command = [sys.executable, "-m", "charlm.cli", "sample", str(folder), "--length", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        assert len(os.read(running.stdout.fileno(), 5)) > 0, "the text streams"
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 0


@pytest.mark.parametrize("arguments", [[], ["sample"], ["score"], ["train"], ["config"]])
def test_help_names_the_arguments_in_narrow_lines(arguments: list[str]) -> None:
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert re.search("MODEL|FILE|charlm sample results/", done.stdout)
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


BARE = """
import sys
others = "altair ftfy jinja2 llvmlite numba pydantic pydivsufsort regex snakemake".split()
others += ["tensorboardX", "tqdm", "yaml"]
sys.modules.update(dict.fromkeys(others))  # None makes their import fail
from charlm.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_bare(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as if only the packages for training were installed."""
    command = [sys.executable, "-c", BARE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with an encoded corpus, and a configuration as YAML and as JSON."""
    write_corpus(tmp_path)
    (tmp_path / "my.yaml").write_text(
        "corpus: {name: my, source: none.csv}\n"
        "models: {small: {hidden_size: 8, embedding_size: 4, engine: torch, device: cpu}}\n"
        "training: {steps: 9, batch_size: 4, sequence_length: 16}\n"
    )
    (tmp_path / "my.json").write_text(run("config", tmp_path / "my.yaml").stdout)
    return tmp_path


def test_training_needs_few_packages_and_gives_the_same_bytes(corpus: Path) -> None:
    made = []
    for runner, config in ((run, "my.yaml"), (run_bare, "my.json")):
        done = runner("train", corpus / config, "small", "--results", corpus)
        assert done.returncode == 0, done.stderr
        made.append(outputs(corpus / "models/small"))
        shutil.rmtree(corpus / "models")
    assert set(made[0]) == {"model.safetensors", "model.json", "history.csv"}
    assert made[0] == made[1]


def test_sampling_and_scoring_need_few_packages(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abc")
    for arguments in (("sample", folder, "--length", 5), ("score", folder, tmp_path / "text.txt")):
        done = run_bare(*arguments)
        assert (done.stdout, done.returncode) == (run(*arguments).stdout, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", "x.csv"],
        ["run"],
        ["status", "results/x"],
        ["clean", "--explain", "x.csv"],
        ["export", "space", "results/x", "y"],
    ],
)
def test_a_command_of_the_workflow_names_the_package_to_install(arguments: list[str]) -> None:
    done = run_bare(*arguments)
    assert done.returncode == 1
    message = "missing, which the workflow needs; run `pip install 'charlm-pipeline[workflow]'`"
    assert done.stderr.startswith(f"charlm: {arguments[0]}: the package ")
    assert done.stderr.endswith(f"{message}\n")


@pytest.mark.parametrize(
    ("config", "model", "line"),
    [
        ("my.yaml", "small", ": reading YAML needs "),
        ("my.json", "large", "unknown model 'large'; choose one of small"),
        ("vocabulary.json", "small", "vocabulary.json: not the output of `charlm config`"),
    ],
)
def test_a_training_that_cannot_start_is_an_error_in_one_line(
    corpus: Path, config: str, model: str, line: str
) -> None:
    done = run_bare("train", corpus / config, model, "--results", corpus)
    assert done.returncode == 1
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"lstm"', '"rnn"', "my.json: models.small.cell: expected 'lstm' or 'gru', got 'rnn'"),
        ('"patience"', '"x"', "my.json: models.small.training: unknown key 'x'; remove it"),
    ],
)
def test_the_settings_of_edited_json_are_checked(
    corpus: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = corpus / "my.json"
    file.write_text(file.read_text().replace(old, new))
    assert main(["train", str(file), "small", "--results", str(corpus)]) == 1
    assert capsys.readouterr().err == f"charlm: {corpus}/{message}\n"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that writes nothing but control characters."""
    path = tmp_path_factory.mktemp("hostile")
    architecture = Architecture(hidden_size=8, embedding_size=4)
    vocabulary = Vocabulary(["\x1b", "\u202e"], [1] * 2, {"unknown": None, "end_of_document": None})
    model = CharacterLanguageModel(2, architecture)
    save_model(path, model, vocabulary=vocabulary, architecture=architecture, training={})
    return path


@pytest.mark.parametrize("raw", [False, True])
def test_samples_control_a_terminal_only_if_asked(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", 0) as shown, os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["sample", str(hostile), "--length", "9", *["--raw"] * raw]) == 0
        written = b""
        while not written.endswith(b"\n"):
            written += shown.read(1000)
    assert re.fullmatch(
        "[\x1b\u202e]{9}" if raw else r"(\\x1b|\\u202e){9}", written.decode().rstrip()
    )


def test_json_has_escapes_for_control_characters(
    hostile: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["sample", str(hostile), "--length", "9", "--json"]) == 0
    text = capsysbinary.readouterr().out.decode()
    assert not re.search("[\x1b\u202e]", text)
    assert set(json.loads(text)["text"]) == {"\x1b", "\u202e"}


def test_an_error_does_not_control_the_terminal() -> None:
    assert failure("sample", "no\rwhere").startswith(r"no\rwhere/model.json: there is no such")
