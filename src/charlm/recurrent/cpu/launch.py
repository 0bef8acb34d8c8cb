"""Runs compiled kernels on torch's threads, where that is possible."""

import ctypes
import logging
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charlm.recurrent.cpu.memory import empty


def _import_kernels() -> Any:
    try:
        from charlm.recurrent.cpu import kernels, target
    except ImportError:  # no Numba, or one that this Python or NumPy is too new for
        return None, None
    return target, kernels


target, _kernels = _import_kernels()

_log = logging.getLogger(__name__)


@cache
def can_run_kernels(dtype: torch.dtype) -> bool:
    """Whether the kernels can run; where they cannot, say so once, and torch's layers run."""
    if dtype != torch.float32:
        reason = f"it computes in float32, not {dtype}"
    elif target is None:
        reason = "Numba cannot be imported"
    elif _openmp() is None:
        reason = "torch's threads cannot be shared here"
    else:
        return True
    _log.warning("recurrent engine fused: %s; torch's own layers run instead", reason)
    return False


@cache
def _openmp() -> Any:
    """The OpenMP library that torch runs its threads with, or None.

    The kernels run on torch's own threads. A second pool of threads would spin beside it: either
    would wait for the other at every step.
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
    return openmp.GOMP_parallel, np.array(addresses, np.int64)


_Block: Any = ctypes.c_int64 * target.BLOCK if target else None


@cache
def _kernel(name: str, kind: torch.dtype) -> Any:
    """A kernel for operands of a kind, as a C function."""
    address = _kernels.compiled(f"{name}_{str(kind).removeprefix('torch.')}")
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


class Launch:
    """A kernel with its arguments, to be run any number of times."""

    def __init__(
        self, name: str, kind: torch.dtype, *arguments: Any, scratch_size: int = 0, threads: int = 0
    ) -> None:
        self._threads = threads or torch.get_num_threads()
        scratch = empty(self._threads * (scratch_size or target.SCRATCH), kind=torch.uint8)
        self._kept_alive = (scratch, *arguments)
        addresses = [a.data_ptr() if isinstance(a, Tensor) else a or 0 for a in self._kept_alive]
        if self._threads > 1:
            parallel, team = _openmp()
            self._block = _Block(team.ctypes.data, *addresses)
            self._run = partial(parallel, _kernel(name, kind), self._block, self._threads, 0)
        else:
            self._block = _Block(0, *addresses)
            self._run = partial(_kernel(name, kind), self._block)

    def __call__(self) -> None:
        """Run the kernel."""
        self._run()


def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` in float32; the columns of b, and those of a transposed view a, are 32·i.

    A library's product adds up in an order that may depend on the number of threads, and rounds
    the results of bfloat16 to bfloat16.
    """
    (m, k), n = a.shape, b.shape[1]
    transposed = a.stride(1) != 1
    result = empty(m, n).zero_()
    stride = a.stride(1 if transposed else 0) * a.itemsize
    depth, group = target.DEPTH, target.GROUP
    Launch(
        "product", a.dtype, m, n, k, a, stride, int(transposed), b, b.stride(0) * b.itemsize,
        result, scratch_size=(n + group) * depth * 4,
    )()  # fmt: skip
    return result
