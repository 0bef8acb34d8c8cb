"""What the kernels are compiled for, and the names under which they are cached."""

# mypy: ignore-errors
# (Numba and llvmlite have no types.)

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import njit
from numba.core.registry import cpu_target

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")

_TARGET = cpu_target.target_context.codegen().magic_tuple()  # triple, processor, features
_FEATURES = _TARGET[2].split(",")
FAST_BFLOAT16 = "+avx512bf16" in _FEATURES
# A tile of 8 rows and 2 or 3 vectors fills the 32 registers of AVX-512 best. Where a vector takes
# two of 16 registers (AVX) or four of 32 (NEON), that is one of 6 rows and one vector.
WIDE = "+avx512f" in _FEATURES
ROWS = 8 if WIDE else 6
VECTORS, GRU_VECTORS = (2, 3) if WIDE else (1, 1)
LANES = 16
PANEL = VECTORS * LANES  # columns that a tile multiplies by
SCRATCH_ROW = 4 * LANES * 4  # bytes of a row of sums: four gates of sixteen floats
SCRATCH = ROWS * SCRATCH_ROW  # bytes of scratch memory a thread needs
BLOCK = 20  # integers in a block of arguments
# A product of matrices goes through its inner dimension in blocks of DEPTH words, of which a panel
# of columns (32 or 64 kB) and GROUP rows (64 or 96 kB) stay in a core's second-level cache.
DEPTH, GROUP = 512, 32 if WIDE else 48

# Kinds of stored numbers, told apart by their type when a kernel is compiled.
FLOAT32, BFLOAT16 = np.float32(0), np.uint16(0)

_COMPILER = numba.__version__, llvmlite.__version__, numba.config.OPT, _TARGET
_LAYOUT = ROWS, VECTORS, GRU_VECTORS, DEPTH, GROUP, FAST_BFLOAT16

SOURCES = ("target.py", "vectors.py", "tiles.py", "threads.py", "products.py", "kernels.py")
"""The files that hold code which is compiled into kernels, this one among them."""

_TEXTS = [__spec__.loader.get_data(str(Path(__file__).with_name(name))) for name in SOURCES]
DIGEST = hashlib.sha256(b"\0".join([*_TEXTS, repr((_COMPILER, _LAYOUT)).encode()])).hexdigest()[:16]


def uniquely_named(function: Callable[..., Any], variant: str = "") -> Callable[..., Any]:
    """Give a function a name of its own, in which its machine code is cached and linked.

    The machine code of one kernel holds that of the functions it calls. A process that loads
    kernels which others have compiled links every function by its name alone, whatever it does. So
    the name tells the variant of the function, and by a digest all that its machine code depends
    on: the sources, the compiler and the processor.
    """
    function.__name__ = function.__qualname__ = f"{function.__name__}{variant}_{DIGEST}"
    return function


def kernel_function(function: Callable[..., Any], variant: str = "") -> Any:
    """Compile a function that kernels call."""
    return njit(uniquely_named(function, variant))
