"""How the threads of a team share the work of a kernel."""

# mypy: ignore-errors
# (The compiled half is in Numba's language, whose types mypy does not know.)

from charlm.recurrent.cpu.target import kernel_function
from charlm.recurrent.cpu.vectors import call, read_integer


@kernel_function
def share(items, team):
    """Return where this thread's share of the items starts and ends, and its number."""
    if team == 0:
        return 0, items, 0
    me, size = call(read_integer(team)), call(read_integer(team + 8))
    return items * me // size, items * (me + 1) // size, me


@kernel_function
def barrier(team):
    """Wait until every thread of the team is here."""
    if team != 0:
        call(read_integer(team + 16))
