"""Runs compiled kernels on the threads of torch, if that is possible."""

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.recurrent.cpu.arguments import Arguments, ProductArguments, make_record
from charlm.recurrent.cpu.memory import empty

try:
    from charlm.recurrent.cpu import kernels, target

    HAS_NUMBA = True
except ImportError:  # no Numba, or one that does not support this version of Python or NumPy
    kernels = target = None  # type: ignore[assignment]
    HAS_NUMBA = False

__all__ = ["Launch", "can_run_kernels", "matrix_product", "target"]

_log = logging.getLogger(__name__)


@cache
def can_run_kernels(dtype: torch.dtype) -> bool:
    """Return whether the kernels can run on parameters of this type; if not, log why, once."""
    if dtype != torch.float32:
        reason = f"it computes in float32, not {dtype}"
    elif not HAS_NUMBA:
        reason = "Numba cannot be imported"
    elif _openmp() is None:
        reason = "torch's threads cannot be shared here"
    else:
        return True
    _log.warning("recurrent engine fused: %s; torch's own layers run instead", reason)
    return False


class _OpenMP(NamedTuple):
    """The OpenMP library with which torch runs its threads."""

    parallel: Callable[..., None]  # GOMP_parallel
    team: npt.NDArray[np.int64]  # functions for the threads, see `charlm.recurrent.cpu.threads`


@cache
def _openmp() -> _OpenMP | None:
    """Find torch's OpenMP library, if there is one.

    The kernels run on torch's own threads. A second pool of threads would compete with them: idle
    threads spin, and each pool would wait for the other at every step.
    """
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        openmp = ctypes.CDLL(str(library))
        openmp.GOMP_parallel.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_uint] * 2
        openmp.GOMP_parallel.restype = None
        functions = (openmp.omp_get_thread_num, openmp.omp_get_num_threads, openmp.GOMP_barrier)
    except (OSError, AttributeError):
        return None
    addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
    return _OpenMP(openmp.GOMP_parallel, np.array(addresses, np.int64))


@cache
def _kernel(name: str, dtype: torch.dtype) -> Callable[[int], None]:
    """Compile a kernel for a type of operands."""
    address = kernels.compiled(f"{name}_{str(dtype).removeprefix('torch.')}")
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


class Launch:
    """A kernel with its arguments, which can be run any number of times.

    Args:
        name: of the kernel, such as ``lstm_forward``.
        dtype: type of the operands, float32 or bfloat16.
        arguments: those of the kernel.
        scratch_bytes: scratch memory of a thread; by default what a step loop needs.
        threads: number of threads; by default as many as torch uses.
    """

    def __init__(
        self,
        name: str,
        dtype: torch.dtype,
        arguments: Arguments,
        *,
        scratch_bytes: int = 0,
        threads: int = 0,
    ) -> None:
        self._kernel = _kernel(name, dtype)
        self._threads = threads or torch.get_num_threads()
        self._openmp = _openmp() if self._threads > 1 else None
        scratch = empty(self._threads * (scratch_bytes or target.SUMS_BYTES), dtype=torch.uint8)
        team = self._openmp.team.ctypes.data if self._openmp else 0
        record = make_record(arguments, team, scratch)
        self._address = ctypes.addressof(record)
        self._kept_alive = record, scratch, arguments

    def __call__(self) -> None:
        """Run the kernel."""
        if self._openmp:
            self._openmp.parallel(self._kernel, self._address, self._threads, 0)
        else:
            self._kernel(self._address)


def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` (M, N) in float32, computed in the same order for any number of threads.

    A library's product may add up in an order that depends on the number of threads, and it rounds
    the results of bfloat16 to bfloat16.

    Args:
        a: (M, K), float32 or bfloat16; may be the transpose of a contiguous matrix or of some of
            its columns, and then M is a multiple of 32.
        b: (K, N), of the type of `a`, with contiguous rows; N is a multiple of 32.
    """
    (m, k), n = a.shape, b.shape[1]
    transposed = a.stride(1) != 1
    result = empty(m, n).zero_()
    arguments = ProductArguments(
        m=m,
        n=n,
        k=k,
        transposed=int(transposed),
        a=a,
        a_stride=a.stride(1 if transposed else 0) * a.itemsize,
        b=b,
        b_stride=b.stride(0) * b.itemsize,
        c=result,
    )
    scratch_bytes = (n + target.BLOCK_ROWS) * target.BLOCK_DEPTH * 4
    Launch("product", a.dtype, arguments, scratch_bytes=scratch_bytes)()
    return result
