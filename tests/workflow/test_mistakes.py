"""A user's mistake ends the workflow with one line that says how to fix it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, Checkout


def run(checkout: Checkout, *arguments: str) -> str:
    """Run the workflow, which must fail, and return its output."""
    done = checkout.snakemake(*arguments)
    printed = done.stdout + done.stderr
    assert done.returncode != 0, printed
    assert "Traceback" not in printed
    return printed


def with_corpus(checkout: Checkout, text: str | None = None, **settings: object) -> tuple[str, str]:
    """Write a CSV; return the arguments that make it the corpus of the tiny preset."""
    if text is not None:
        (checkout.folder / "posts.csv").write_text(text)
    source = {"name": "posts", "source": "posts.csv", "max_documents": None} | settings
    return ("--config", f"corpus={json.dumps(source)}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("trainin={}", f"{TINY}: trainin: unknown key; did you mean 'training'?"),
        ("training={steps: many}", f'{TINY}: training.steps: "many" should be a valid integer'),
        ("cleaning={rules: [{name: r, pattern: '(?=a)'}]}", "cleaning.rules: rule 'r': Invalid"),
    ],
)
def test_a_wrong_setting_ends_the_run_before_any_job(
    checkout: Checkout, change: str, line: str
) -> None:
    printed = run(checkout, "--configfile", TINY, "--config", change)
    assert line in printed
    assert not (checkout.folder / "results/tiny").exists()


def test_a_source_with_a_name_in_braces_ends_the_run_before_any_job(checkout: Checkout) -> None:
    (checkout.folder / "{x}.csv").write_text("text\nhello\n")
    corpus = with_corpus(checkout, source="{x}.csv")
    printed = run(checkout, "--configfile", TINY, *corpus, "--dry-run")
    assert "{x}.csv: Snakemake takes names in braces for wildcards; rename the file" in printed


def test_a_configfile_stands_alone(checkout: Checkout) -> None:
    (checkout.folder / "mine.yaml").write_text("corpus: {name: mine, source: 'posts.csv'}\n")
    (checkout.folder / "posts.csv").write_text("text\nhello\n")
    done = checkout.snakemake("--configfile", "mine.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "results/mine/report.html" in done.stdout + done.stderr
    assert "movie-reviews" not in done.stdout + done.stderr


def test_a_model_that_would_start_from_itself_is_kept(tiny_copy: Checkout) -> None:
    folder = "results/tiny/models/lstm"
    weights = tiny_copy.folder / folder / "model.safetensors"
    before = weights.read_bytes()
    change = f"models={{lstm: {{init_from: {folder}/}}}}"
    printed = run(tiny_copy, "train", "--configfile", TINY, "--config", change)
    assert (
        "run `cp -r results/tiny/models/lstm tiny-lstm` and set `init_from: tiny-lstm`" in printed
    )
    assert weights.read_bytes() == before


def test_a_model_that_would_start_from_another_vocabulary_is_kept(
    tiny_copy: Checkout,
) -> None:
    weights = tiny_copy.folder / "results/tiny/models/lstm/model.safetensors"
    before = weights.read_bytes()
    shutil.copytree(weights.parent, tiny_copy.folder / "old")
    description = tiny_copy.folder / "old/model.json"
    other = json.loads(description.read_text())
    other["vocabulary"]["symbols"][0] = "東"
    del other["digests"]  # which would find the change
    description.write_text(json.dumps(other))
    start = ("--configfile", TINY, "--config", "models={lstm: {init_from: old}}")
    printed = run(tiny_copy, "train", *start)
    assert "old: training.init_from or training.teacher names a model of another vocab" in printed
    assert weights.read_bytes() == before
    description.write_bytes((weights.parent / "model.json").read_bytes())
    stages = {"match_vocabulary", "train_model", "mix_model", "train"}
    assert tiny_copy.planned("train", *start) == stages


POSTS = "text,id\n" + "".join(f"this is post number {n} of them all,{n}\n" for n in range(40))


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (None, {}, ["posts.csv", "there is no such file"]),
        (
            POSTS,
            {"text_columns": ["txt"]},
            ["posts.csv", "'txt'", "'text', 'id'", "did you mean 'text'?"],
        ),
        ("", {}, ["posts.csv", "empty"]),
        ("text,id\n", {}, ["posts.csv", "no "]),
        ("text,id\n" + ",1\n" * 5, {}, ["posts.csv"]),
        ("text,id\nx,1\n", {}, ["too "]),
    ],
)
def test_an_unusable_corpus_is_an_error_in_one_line(
    checkout: Checkout, text: str | None, settings: dict[str, object], words: list[str]
) -> None:
    printed = run(checkout, "--configfile", TINY, *with_corpus(checkout, text, **settings))
    lines = [line for line in printed.splitlines() if all(word in line for word in words)]
    assert lines, printed
    assert lines[-1] == printed.splitlines()[-1]
    assert lines[-1].startswith("error: ")
    assert not list((checkout.folder / "results").rglob("model.safetensors"))


def test_a_wrong_column_is_reported_before_any_job(checkout: Checkout) -> None:
    corpus = with_corpus(checkout, POSTS, text_columns=["txt"])
    printed = run(checkout, "--configfile", TINY, *corpus, "--dry-run")
    assert "posts.csv: there is no column 'txt'; the columns are 'text', 'id'; did you" in printed


def test_the_log_says_which_rows_are_rejected(checkout: Checkout) -> None:
    text = "text,id\n" + "".join(f"a post of {n} words,{n}\n" for n in range(300)) + "ragged\n"
    corpus = with_corpus(checkout, text)
    done = checkout.snakemake("ingest", "--configfile", TINY, *corpus)
    assert done.returncode == 0, done.stderr
    log = (checkout.folder / "logs/posts/ingest.log").read_text()
    assert "posts.csv: row 301: 1 field, not 2; 1 of 301 records cannot be used (0.33%)" in log


def test_an_unknown_prompt_character_is_named_and_the_model_is_kept(checkout: Checkout) -> None:
    model = "models={gru: {cell: gru, hidden_size: 16}}"
    arguments = ("sample", "--configfile", TINY, *with_corpus(checkout, POSTS), model)
    sampling = ("sampling={prompts: ['post 東']}",)
    printed = run(checkout, *arguments, *sampling)
    assert "'post 東' has characters that are not in the vocabulary ('東')" in printed
    models = checkout.folder / "results/posts/models"
    assert list(models.glob("*/model.safetensors"))
    assert not list(models.glob("*/samples.jsonl"))
    done = checkout.snakemake(*arguments, "sampling={prompts: ['post ']}")
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_the_notebooks_preset_runs_on_a_csv_of_its_columns(checkout: Checkout) -> None:
    columns = (
        "Competition Launch Date,Title of Competition,Competition URL,Date of Writeup,"
        "Title of Writeup,Writeup,Writeup URL"
    )
    row = (
        "08/03/2010 00:00:00,Chess,https://example.org/c/1,11/18/2010 00:06:46,Mine,"
        '"<p>I had a lot of fun with this competition: see&nbsp;https://example.org/{} !</p>\r\n'
        'It took {} days; I learned much.",https://example.org/{}\n'
    )
    path = checkout.folder / "kaggle_writeups_20230510.csv"
    text = columns + "\n" + "".join(row.format(n, n % 7, n) for n in range(100))
    path.write_text(text + "d,c,u,d,t,,u\n", newline="")
    preset = ("--configfile", "config/presets/notebook.yaml", "--config", "training={steps: 20}")
    done = checkout.snakemake("sample", *preset)
    assert done.returncode == 0, done.stderr
    results = checkout.folder / "results/notebook"
    vocabulary = json.loads((results / "vocabulary.json").read_text())
    assert "".join(vocabulary["symbols"])[:5] == "I had"
    assert vocabulary["special"] == {"unknown": None, "end_of_document": None}
    description = json.loads((results / "models/lstm/model.json").read_text())
    assert description["architecture"]["one_hot"]
    assert Path(results / "models/gru/samples.jsonl").exists()
