"""Standard output of the commands."""

import os
import sys

from charlm.errors import CharlmError
from charlm.escaping import terminal_text


def write(text: str) -> None:
    """Write text to standard output as UTF-8, and flush it.

    File names that are not UTF-8 keep their bytes. An unbuffered stream may write only a part of
    the data without an error, so the rest is written again.

    Raises:
        CharlmError: Standard output is closed.
        OSError: Writing failed; its file name is `standard output`.
    """
    if sys.stdout is None:
        raise CharlmError("standard output: closed; give it a file, a pipe or a terminal")
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[sys.stdout.buffer.write(data) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        error.filename = "standard output"
        raise


def for_terminal(text: str) -> str:
    """Return a text to write, with escapes for control characters if a terminal shows it."""
    return terminal_text(text) if sys.stdout is not None and sys.stdout.isatty() else text


def discard_output() -> None:
    """Discard what Python has not written yet; it would fail again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
