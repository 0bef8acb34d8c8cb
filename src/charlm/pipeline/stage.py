"""Logging and error handling for the scripts of the rules."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import CharlmError
from charlm.escaping import error_line
from charlm.files import describe_os_error
from charlm.pipeline.run_lock import hold_job_lock

QUIET = "CHARLM_QUIET"
"""The environment variable that keeps all but warnings from standard error; set by `terminal`."""


@contextmanager
def stage(log_file: str | Path) -> Iterator[None]:
    """Hold the run's lock, log to `log_file` and to standard error, and handle errors.

    An error that the user can fix is logged in one line, without a traceback. Any other exception
    is a defect in charlm: its traceback goes to the log file only. Both end the process with exit
    status 1.
    """
    log_file = Path(log_file)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    shown = logging.StreamHandler(sys.stderr)
    if os.environ.get(QUIET):
        shown.addFilter(lambda record: record.levelno == logging.WARNING)
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[
            logging.FileHandler(log_file, mode="w", encoding="utf-8"),
            shown,
        ],
        force=True,
    )
    logging.captureWarnings(True)
    hold_job_lock(log_file)
    try:
        yield
    except CharlmError as error:
        _end(str(error))
    except OSError as error:
        _end(describe_os_error(error, "fix this and run again"))
    except MemoryError:
        _end("out of memory; close other programs or use less text at a time, and run again")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception:
        with log_file.open("a", encoding="utf-8") as file:
            logging.getLogger().handlers = [logging.StreamHandler(file)]
            logging.exception("a defect in charlm")
        if not os.environ.get(QUIET):
            print(f"a defect in charlm; please report it with {log_file}", file=sys.stderr)
        raise SystemExit(1) from None


def _end(line: str) -> None:
    logging.error("error: %s", error_line(line))
    raise SystemExit(1)
