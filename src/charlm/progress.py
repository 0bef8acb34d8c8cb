"""Progress of long stages: a bar on a terminal, a plain line now and then elsewhere."""

import sys
from contextlib import nullcontext
from typing import Any


def progress(total: float | None, description: str, unit: str = "it") -> Any:
    """Return a progress bar over `total` units, for use in a `with` block; call `.update(n)`.

    Without a terminal each refresh is a line of its own, at most one in ten seconds.
    """
    try:
        from tqdm import tqdm
    except ImportError:  # a machine that only trains may lack it; the log must do
        return nullcontext(_Nothing())
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        unit_scale=True,
        mininterval=0.2 if terminal else 10,
        maxinterval=0.2 if terminal else 10,
        file=sys.stderr if terminal else _Lines(),
        dynamic_ncols=terminal,
        ncols=None if terminal else 0,
        leave=terminal,
        delay=1,
    )


class _Nothing:
    """A bar that shows nothing."""

    def update(self, _n: float = 1) -> None:
        pass

    def set_postfix_str(self, _text: str = "", refresh: bool = True) -> None:
        pass


class _Lines:
    """A stream that turns tqdm's carriage returns into lines."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
