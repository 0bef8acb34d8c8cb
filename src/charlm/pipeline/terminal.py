"""What a run shows: one line for each job with its time, and at the end the result.

Snakemake's own messages are in `.snakemake/log`, and on the terminal with `--verbose`.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, TextIO

from snakemake_interface_logger_plugins.common import LogEvent

from charlm.evaluation.leaders import leaders, model_folders
from charlm.pipeline.jobs import job_name
from charlm.pipeline.stage import QUIET
from charlm.progress import duration

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

SAVED = re.compile(r"a checkpoint of step (\d+) is saved")
"""The last line in the log of a training that was interrupted."""

MISTAKES = re.compile(r"^WorkflowError in file .*:\n(.*?)(?:\n  File .*)?$", re.DOTALL)
"""Snakemake's report of an error that the Snakefile raises."""

FOLLOWED = ("Exiting because", "At least one job", "RuleException", "WorkflowError:\nAt least")
"""Beginnings of Snakemake's errors after that of a job, which the last line replaces."""


def attach(workflow: "Workflow") -> None:
    """Show this run's jobs and result in place of Snakemake's messages.

    With `--verbose` or `--quiet`, or with a logger plugin, only the end is ours.

    Args:
        workflow: The workflow, whose Snakefile sets `RESULTS` to the folder `results/{corpus}`.
    """
    output = workflow.output_settings
    logger = workflow.logger_manager.logger
    terminal = Terminal(workflow)
    logger.addHandler(terminal)
    if not (output.verbose or output.quiet or output.dryrun):
        for handler in logger.handlers:
            if handler.name == "DefaultStreamHandler":
                handler.addFilter(terminal.leaves_to_snakemake)
                terminal.shows_jobs = True


class Terminal(logging.Handler):
    """A handler of Snakemake's log records that writes what users want to know."""

    def __init__(self, workflow: "Workflow", stream: TextIO | None = None) -> None:
        super().__init__()
        self.workflow, self.stream = workflow, stream or sys.stderr
        self.shows_jobs = False
        self.started: float | None = None
        self.jobs: dict[int, tuple[str, str, float]] = {}
        """The name, log and start of the jobs that run, by Snakemake's number."""
        self.failed: dict[int, tuple[str, str, float]] = {}
        """The same of the jobs that failed."""
        self.done = self.total = 0
        self.mistakes: list[str] = []
        """What is wrong with the configuration or the sources; then no job starts."""
        self.interrupted = self.errors = False

    def leaves_to_snakemake(self, record: logging.LogRecord) -> bool:
        """Return whether Snakemake shows a message itself: only before the run starts."""
        return self.started is None and _event(record) != LogEvent.WORKFLOW_STARTED

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line if this record needs one."""
        fields: Any = record
        match _event(record):
            case LogEvent.WORKFLOW_STARTED:
                self.started = time.monotonic()
                if self.shows_jobs:
                    os.environ[QUIET] = "1"  # for the processes of the jobs
            case LogEvent.RUN_INFO:
                self.total = sum(bool(job.log) for job in self.workflow.dag.needrun_jobs())
            case LogEvent.JOB_INFO if getattr(record, "log", None):
                log = str(fields.log[0])
                self.jobs[fields.jobid] = job_name(log), log, time.monotonic()
            case LogEvent.JOB_FINISHED if fields.job_id in self.jobs:
                self.done += 1
                self._show_job(*self.jobs.pop(fields.job_id))
            case LogEvent.JOB_ERROR if fields.jobid in self.jobs:
                self.failed[fields.jobid] = self.jobs.pop(fields.jobid)
            case None | LogEvent.ERROR:
                self._show_message(record)

    def _show_job(self, name: str, log: str, start: float) -> None:
        if self.shows_jobs:
            count = f"{self.done:>{len(str(self.total))}}/{self.total}"
            seconds = duration(time.monotonic() - start)
            last = shorten(_last_line(log), 60, placeholder=" …")
            self._write(f"{count}  {name:<20} {seconds:>10}  {last}".rstrip())

    def _show_message(self, record: logging.LogRecord) -> None:
        """Show warnings and errors, and note how the run ends."""
        message = str(record.msg or "").strip()
        if self.started is None and (found := MISTAKES.search(message)):
            self.mistakes += found[1].splitlines()
        self.interrupted |= message.startswith("Terminating processes on user request")
        followed = bool(self.failed) and message.startswith(FOLLOWED)
        self.errors |= record.levelno >= logging.ERROR
        wanted = record.levelno >= logging.WARNING or message.startswith("Will exit after")
        if self.shows_jobs and self.started is not None and wanted and not followed:
            self._write(message)

    def close(self) -> None:
        """Write how the run ended; Snakemake closes its handlers after its last message."""
        for line in self.mistakes:
            self._write(f"error: {line}")
        self.mistakes = []
        if self.started is not None:
            for line in self._end(duration(time.monotonic() - self.started)):
                self._write(line)
            self.started = None
        super().close()

    def _end(self, time_taken: str) -> Iterator[str]:
        """Yield the last lines of the run."""
        if self.workflow.output_settings.dryrun:
            return
        if self.interrupted:
            saved = [f"{name} is saved at step {step}" for name, step in self._saved()]
            yield f"interrupted: {', '.join([*saved, 'run the same command again to continue'])}"
        elif self.failed:
            for name, log, _ in self.failed.values():
                yield f"error: {name}: {_error(log)}"
        elif not self.errors:
            files = self._files()
            yield (
                f"done in {time_taken}" if self.done else "nothing to do: all files are up to date"
            )
            results = Path(self.workflow.globals["RESULTS"])
            report = results / "report.html"
            if str(report) not in files:
                yield from files
                return
            best = leaders(results)
            if best:
                yield f"best model: {best}"
            yield f"report: {report.resolve().as_uri()}"
            model = best.model.name if best else next(iter(model_folders(results)))
            command = f"charlm sample {results}/models/{model}"
            yield f"Open it in a browser, or let the model write: {command}"

    def _saved(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the step of each training that the interruption has saved."""
        for name, log, _ in (*self.jobs.values(), *self.failed.values()):
            if found := SAVED.search(_last_line(log)):
                yield name, found[1]

    def _files(self) -> list[str]:
        """Return the files that were asked for."""
        jobs = self.workflow.dag.targetjobs
        return sorted({str(file) for job in jobs for file in (job.output or job.input)})

    def _write(self, line: str) -> None:
        clear = "\r\x1b[K" if self.stream.isatty() else ""  # a job's progress bar may be there
        self.stream.write(f"{clear}{line}\n")
        self.stream.flush()


def _event(record: logging.LogRecord) -> Any:
    return getattr(record, "event", None)


def _last_line(log: str) -> str:
    """Return the last line of a job's log, empty if there is none."""
    try:
        lines = Path(log).read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def _error(log: str) -> str:
    """Return the one line that says why a job failed."""
    last = _last_line(log)
    if last.startswith("error: "):
        return last.removeprefix("error: ")
    if last and "a defect in charlm" in Path(log).read_text("utf-8", "replace"):
        return f"a defect in charlm; please report it with {log}"
    return (
        f"it was killed, perhaps for lack of memory, or could not start; see {log}, or run again "
        "with --verbose"
    )
