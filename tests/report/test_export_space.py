"""A Space holds the report."""

from pathlib import Path

import pytest
import yaml

from charlm.errors import CharlmError
from charlm.report.export_space import export_space


def test_a_space_is_the_report_and_a_header(tmp_path: Path) -> None:
    with pytest.raises(CharlmError, match=r"tiny/report.html: there is no such file; make it"):
        export_space(tmp_path / "tiny", tmp_path / "space")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/report.html").write_bytes("<p>é</p>".encode())
    export_space(tmp_path / "tiny", tmp_path / "space")
    assert (tmp_path / "space/index.html").read_bytes() == "<p>é</p>".encode()
    _, header, rest = (tmp_path / "space/README.md").read_text().split("---\n")
    assert yaml.safe_load(header) == {
        "title": "charlm: tiny",
        "sdk": "static",
        "app_file": "index.html",
    }
    assert rest == ""
