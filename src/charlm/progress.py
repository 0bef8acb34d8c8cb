"""Progress of long stages: a bar on a terminal, else a line every ten seconds; durations."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class ProgressBar(Protocol):
    """What the stages use of tqdm's bar."""

    def update(self, n: float = 1, /) -> object:
        """Advance by `n` units."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show a text after the figures."""


def progress(
    total: float | None, description: str, unit: str = "it"
) -> AbstractContextManager[ProgressBar]:
    """Return a progress bar over `total` units, for use in a `with` block.

    Without a terminal, print a line at most every ten seconds instead.
    """
    try:
        from tqdm import tqdm
    except ImportError:  # a machine that only trains may lack it
        return nullcontext(_NoBar())
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
        leave=False,
        delay=1,
    )


def duration(seconds: float) -> str:
    """Return a time for readers.

    >>> duration(3.21), duration(75), duration(8000)
    ('3.2 s', '1 min 15 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


class _NoBar:
    """A bar that shows nothing."""

    def update(self, n: float = 1, /) -> None:
        pass

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        pass


class _Lines:
    """A stream that prints each refresh of tqdm's bar as a line."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
