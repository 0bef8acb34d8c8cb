"""How the threads of a team share the work of a kernel.

A `team` is the address of three C functions ``int f(void)`` of OpenMP: omp_get_thread_num,
omp_get_num_threads and GOMP_barrier. It is 0 for a single thread.
"""

# mypy: ignore-errors
# (Written in the subset of Python that Numba compiles; mypy does not know its types.)

from charlm.recurrent.cpu.target import kernel_function
from charlm.recurrent.cpu.vectors import call_c, load_integer


@kernel_function
def share(items, team):
    """Return the first item of this thread, the end of its items, and the thread's number."""
    if team == 0:
        return 0, items, 0
    thread, threads = call_c(load_integer(team)), call_c(load_integer(team + 8))
    return items * thread // threads, items * (thread + 1) // threads, thread


@kernel_function
def barrier(team):
    """Wait until all threads of the team have come here."""
    if team != 0:
        call_c(load_integer(team + 16))
