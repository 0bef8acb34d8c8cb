"""How much of everything the page shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The maximum number of each that the page shows."""

    prompts: int = 12
    open_prompts: int = 2
    """Prompts whose samples are unfolded at first."""
    samples: int = 4
    """Samples of a model for one prompt and temperature."""
    quoted: int = 1000
    """Characters of a sample at the top of the page."""
    passages: int = 6
    """Passages that samples copied."""
    documents: int = 8
    excerpt: int = 320
    """Characters of a document."""
    table: int = 1000
    """Documents of the table."""
    cell: int = 50
    """Characters of a cell of that table."""
    columns: int = 8
    """Kept columns of a document."""
    rejected: int = 20
    symbols: int = 400
    differences: int = 20


LIMITS = Limits()
