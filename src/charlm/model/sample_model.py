"""The stage `sample`: samples of a trained model."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from charlm.errors import CharlmError
from charlm.files import write_text
from charlm.model.devices import choose_device
from charlm.model.sampling import OnUnknown, SampleRequest
from charlm.model.trained_model import Continuation, load

log = logging.getLogger(__name__)


class SampleRecord(TypedDict):
    """A line of `samples.jsonl`."""

    prompt: str
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    text: str
    finish_reason: str
    """`end` of the document, `stop` text, or `length` limit."""


def sample_model(
    model_folder: str | Path,
    samples: str | Path,
    *,
    prompts: Sequence[str],
    temperatures: Sequence[float],
    top_k: int | None,
    top_p: float | None,
    length: int,
    num_samples: int,
    seed: int,
    stop: str | None,
    end: bool,
    on_unknown: OnUnknown,
    prompts_file: str | Path | None,
    device: str = "auto",
) -> None:
    """Draw samples from a trained model and write `samples.jsonl`, one line per sample.

    Each combination of a prompt and a temperature gets `num_samples` samples, with the seeds
    `seed`, `seed` + 1 and so on. `prompts_file` replaces `prompts`, unless it is None.

    Raises:
        CharlmError: The model cannot be loaded, or a prompt has unknown characters.
    """
    model = load(model_folder, device=choose_device(device, "training.device"))
    requests = [
        request
        for prompt in (read_prompts(prompts_file) if prompts_file else prompts)
        for temperature in temperatures
        for request in SampleRequest(
            prompt,
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
            end=end,
            on_unknown=on_unknown,
        ).repeated(num_samples)
    ]
    records = map(sample_record, requests, model.draw(requests))
    write_text(samples, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records))
    log.info("%d samples of up to %d symbols", len(requests), length)


def sample_record(request: SampleRequest, sample: Continuation) -> SampleRecord:
    """Return the record of a sample in `samples.jsonl`."""
    return {
        "prompt": request.prompt,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "seed": request.seed,
        "text": sample.text,
        "finish_reason": sample.finish_reason,
    }


def read_prompts(path: str | Path) -> list[str]:
    """Return the prompts in a text file, which has one per line.

    Raises:
        CharlmError: The file has no prompt, cannot be read, or is not UTF-8.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CharlmError(f"{path}: byte {error.start}: not UTF-8; save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise CharlmError(f"{path}: {getattr(error, 'strerror', error)}; name another") from None
    prompts = lines if lines[-1] else lines[:-1]
    if not prompts:
        raise CharlmError(f"{path}: no prompts; write one per line")
    return prompts
