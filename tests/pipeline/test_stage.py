"""A stage logs an error in one line, and a defect with its traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ("pass", 0, ""),
        ("raise CharlmError('a.csv: row 3: no text; add some')", 1, "error: a.csv: row 3: no text"),
        (r"raise CharlmError('a\nb\x1b.csv: no text')", 1, r"error: a\nb\x1b.csv: no text"),
        ("open('/nowhere/file')", 1, "error: /nowhere/file: No such file or directory; fix"),
        ("raise KeyboardInterrupt", 130, ""),
        ("[][0]", 1, "a defect in charlm; please report it with"),
    ],
)
def test_the_exit_status_and_the_message_of_a_stage(
    tmp_path: Path, body: str, status: int, line: str
) -> None:
    log = tmp_path / "logs" / "stage.log"
    program = (
        "from charlm.errors import CharlmError\nfrom charlm.pipeline.stage import stage\n"
        f"with stage({str(log)!r}):\n    {body}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == bool(line)
    assert ("IndexError" in log.read_text()) == (body == "[][0]")


def test_scripts_can_be_imported_without_snakemake_running() -> None:
    program = (
        "import runpy, sys\n"
        "for script in sys.argv[1:]: runpy.run_path(script, run_name='imported')['main']"
    )
    scripts = map(str, (ROOT / "workflow/scripts").glob("*.py"))
    done = subprocess.run([sys.executable, "-c", program, *scripts], check=False)
    assert done.returncode == 0
