"""Run all benchmarks, or those named on the command line: `python -m benchmarks text`."""

import sys

from benchmarks import recurrent, recurrent_gpu, text

BENCHMARKS = {"text": text.main, "recurrent": recurrent.main, "gpu": recurrent_gpu.main}

names, sys.argv[1:] = sys.argv[1:], []  # what else is there would be read by those named
for name in names or BENCHMARKS:
    print(f"\n== {name}\n")
    BENCHMARKS[name]()
