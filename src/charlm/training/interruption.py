"""Signals that ask a training to stop."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """Records SIGINT, SIGTERM and SIGHUP in a `with` block, which can save before it stops.

    SIGHUP, the signal of a closed terminal, stays ignored if it was ignored, as under `nohup`.
    In other threads than the main one, which Python does not let handle signals, this does nothing.

    Args:
        on_signal: Called at each of these signals.

    Attributes:
        signal: The last signal; 0 for none.
    """

    def __init__(self, on_signal: Callable[[], object] = lambda: None) -> None:
        self.signal = 0
        self._on_signal = on_signal
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN):
                    self._before[number] = signal.signal(number, self._record)
        return self

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self._on_signal()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
