"""Run all benchmarks, or those named on the command line: `python -m benchmarks text`."""

import sys

from benchmarks import quality, recurrent, recurrent_gpu, text, training

BENCHMARKS = {
    "text": text.main,
    "recurrent": recurrent.main,
    "gpu": recurrent_gpu.main,
    "training": lambda: training.main([]),
    "quality": quality.main,
}

names, sys.argv[1:] = sys.argv[1:] or list(BENCHMARKS), []
for name in names:
    print(f"\n== {name}\n")
    BENCHMARKS[name]()
