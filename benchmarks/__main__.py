"""Run all benchmarks, or those named on the command line: `python -m benchmarks text`."""

import sys

from benchmarks import recurrent, text, training

BENCHMARKS = {"text": text.main, "recurrent": recurrent.main, "training": lambda: training.main([])}

for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}\n")
    BENCHMARKS[name]()
