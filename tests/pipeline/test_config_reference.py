"""The generated files in the repository are up to date."""

from charlm.pipeline import config_reference
from tests.conftest import ROOT


def test_the_schema_and_the_reference_match_the_code() -> None:
    assert (ROOT / config_reference.SCHEMA_FILE).read_text() == config_reference.json_schema(), (
        "run `make docs`"
    )
    page = (ROOT / config_reference.REFERENCE_FILE).read_text()
    assert page == config_reference.with_reference(page), "run `make docs`"
