"""Check that trainings on a GPU give the same bytes when repeated, and when killed and resumed."""

import hashlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import benchmarks.gpu.stand_ins  # noqa: F401 (before what needs safetensors)
from charlm.settings import Architecture, TrainingSettings
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from charlm.training.train_model import train_model

TEXT = "the cat sat on the mat and the dog ate the cat's hat, said the rat. " * 3000
ENGINES = ("auto", "torch")
HIDDEN_SIZE = 256
STEPS = 400


def write_corpus(folder: Path) -> None:
    rows = {"doc_id": [0, 1], "split": ["train", "validation"], "text": [TEXT, TEXT[:2000]]}
    pq.write_table(pa.table(rows | {"continues": [False, False]}), folder / "corpus.parquet")
    build_vocabulary(
        folder / "corpus.parquet",
        folder / "vocabulary.json",
        unit="character",
        order="first_seen",
        min_count=1,
    )
    places = (folder / name for name in ("corpus.parquet", "vocabulary.json", "tokens"))
    encode(*places, one_stream=False)


def train(folder: Path, name: str, engine: str, device: str) -> None:
    """Train a small model of two layers with every kind of dropout."""
    how = {"engine": engine, "device": device, "steps": STEPS, "checkpoint_every": 40}
    size = {"batch_size": 32, "sequence_length": 64, "learning_rate": 3e-3, "average": 0.9}
    train_model(
        folder / "vocabulary.json",
        folder / "tokens",
        folder / name,
        folder / "checkpoints" / name,
        architecture=Architecture(
            hidden_size=HIDDEN_SIZE, embedding_size=128, num_layers=2, embedding_dropout=0.1,
            layer_dropout=0.1, output_dropout=0.1, weight_dropout=0.1,
        ),
        training=TrainingSettings.from_mapping(how | size, "bits"),
        code="",
    )  # fmt: skip


def start(folder: Path, name: str, engine: str, device: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu.bits", str(folder), name, engine, device],
        stderr=subprocess.DEVNULL,
    )


def digest(folder: Path, name: str) -> str:
    return hashlib.sha256((folder / name / "model.safetensors").read_bytes()).hexdigest()[:16]


def check(device: str = "cuda") -> None:
    """Print a row for each engine."""
    print("| engine | sha256 of the weights | repeated | killed and resumed |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_corpus(folder)
        for engine in ENGINES:
            names = [f"{engine}-{number}" for number in range(3)]
            killed = start(folder, names[2], engine, device)
            checkpoints = folder / "checkpoints" / names[2]
            while killed.poll() is None and not any(checkpoints.glob("step-*")):
                time.sleep(0.01)
            interrupted = killed.poll() is None
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            for name in names:
                if start(folder, name, engine, device).wait():
                    raise SystemExit(f"the training with engine {engine} failed")
            first, *others = (digest(folder, name) for name in names)
            repeated, resumed = ("same" if each == first else "OTHER" for each in others)
            resumed = resumed if interrupted else "not interrupted"
            print(f"| {engine} | {first} | {repeated} | {resumed} |", flush=True)


if __name__ == "__main__":
    train(Path(sys.argv[1]), *sys.argv[2:])
