"""Run all benchmarks, or those named on the command line: `python -m benchmarks text`."""

import sys

from benchmarks import recurrent, text

BENCHMARKS = {"text": text.main, "recurrent": recurrent.main}

names, sys.argv[1:] = sys.argv[1:] or list(BENCHMARKS), []
for name in names:
    print(f"\n== {name}\n")
    BENCHMARKS[name]()
