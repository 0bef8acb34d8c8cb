"""The processor that kernels are compiled for, and the names under which they are cached."""

import hashlib
from importlib import resources
from types import FunctionType

import llvmlite
import numba
import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from charlm.recurrent.cpu.arguments import LANES

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("NUMBA_DISABLE_JIT is set")

_TRIPLE, _PROCESSOR, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
HAS_AVX512 = "+avx512f" in _FEATURES.split(",")
FAST_BFLOAT16 = "+avx512bf16" in _FEATURES.split(",")

# A tile of sums that stays in registers: its rows are examples, its columns units. With the 32
# registers of AVX-512, 8 rows of 2 or 3 vectors are fastest. Elsewhere a vector takes two of 16
# registers (AVX) or four of 32 (NEON), which leaves room for 6 rows of one vector.
TILE_ROWS = 8 if HAS_AVX512 else 6
TILE_VECTORS, GRU_TILE_VECTORS = (2, 3) if HAS_AVX512 else (1, 1)
PANEL_COLUMNS = TILE_VECTORS * LANES

# A thread of a step loop has scratch memory for the sums of one tile: a row holds 16 floats for
# each of the four gates.
SUMS_PITCH = 4 * LANES * 4  # bytes from one row to the next
SUMS_BYTES = TILE_ROWS * SUMS_PITCH

# A matrix product splits its inner dimension into blocks of BLOCK_DEPTH 32-bit words, so that a
# panel of columns (32 or 64 kB) and BLOCK_ROWS rows (64 or 96 kB) stay in the second-level cache.
BLOCK_DEPTH = 512
BLOCK_ROWS = 32 if HAS_AVX512 else 48

# Stand for the types of the operands. Kernels are compiled for the type; the value means nothing.
FLOAT32, BFLOAT16 = np.float32(0), np.uint16(0)

SOURCES = (
    "target.py",
    "arguments.py",
    "vectors.py",
    "activations.py",
    "tiles.py",
    "threads.py",
    "products.py",
    "kernels.py",
)
"""The files that determine the machine code of the kernels, including this one."""


def _digest() -> str:
    """Hash all that the machine code depends on: the sources, the compiler and the processor."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(resources.files(__package__).joinpath(name).read_bytes() + b"\0")
    compiler = numba.__version__, llvmlite.__version__, numba.config.OPT  # type: ignore[attr-defined]
    digest.update(repr((compiler, _TRIPLE, _PROCESSOR, _FEATURES)).encode())
    return digest.hexdigest()[:16]


DIGEST = _digest()


def uniquely_named(function: FunctionType, variant: str = "") -> FunctionType:
    """Rename a function so that no other function, in any version of this code, has its name.

    The machine code of a kernel includes that of the functions it calls, and the linker identifies
    a function by its name alone. A process that loads kernels which other processes compiled would
    otherwise link functions of another variant or version. The name is also the key in the cache.
    """
    function.__name__ = function.__qualname__ = f"{function.__name__}{variant}_{DIGEST}"
    return function


def kernel_function(function: FunctionType, variant: str = "") -> Dispatcher:
    """Compile a function that kernels call."""
    return njit(uniquely_named(function, variant))  # type: ignore[return-value]
