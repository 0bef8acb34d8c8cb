"""A stand-in for safetensors, for a machine that lacks it; importing this module installs it.

It writes and reads real safetensors files, whole and unchecked, which will do for benchmarks.
"""

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Self

import numpy as np
import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class SafetensorError(Exception):
    """A file is damaged; never raised here."""


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a file."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    parts = []
    end = 0
    for name, tensor in sorted(tensors.items()):
        part = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        offsets = [end, end := end + len(part)]
        header[name] = {
            "dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets,
        }  # fmt: skip
        parts.append(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


class safe_open:  # noqa: N801 (its name in safetensors)
    """Gives access to the header of a file."""

    def __init__(self, path: str | Path, framework: str) -> None:
        self.content = Path(path).read_bytes()
        self.start = 8 + int.from_bytes(self.content[:8], "little")
        self.header = json.loads(self.content[8 : self.start])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def metadata(self) -> dict[str, str] | None:
        """Return the metadata of the file."""
        found: dict[str, str] | None = self.header.get("__metadata__")
        return found


def load_file(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file."""
    file = safe_open(path, "pt")
    found = {}
    for name, record in file.header.items():
        if name != "__metadata__":
            begin, end = (file.start + offset for offset in record["data_offsets"])
            found[name] = torch.empty(record["shape"], dtype=DTYPES[record["dtype"]])
            if begin < end:
                numbers = np.frombuffer(file.content[begin:end], np.uint8)
                found[name].view(-1).view(torch.uint8).copy_(torch.from_numpy(numbers.copy()))
    return found


def install() -> None:
    """Let `import safetensors` find the stand-in, if the package is missing."""
    if find_spec("safetensors") is None:
        package, part = ModuleType("safetensors"), ModuleType("safetensors.torch")
        vars(package).update(SafetensorError=SafetensorError, safe_open=safe_open, torch=part)
        vars(part).update(save=save, load_file=load_file)
        package.__path__ = []
        sys.modules.update({"safetensors": package, "safetensors.torch": part})


install()
