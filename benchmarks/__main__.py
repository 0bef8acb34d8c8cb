"""Run one benchmark, or those of `make bench`.

    python -m benchmarks [PART [OPTION …]]

PART is one of text, recurrent, gpu, training, quality, scale, duration and html; `--help` after it
lists its options. Without a PART, run text, recurrent, gpu and training with their defaults.

Every speed is a ratio to that of a peer. Both are timed in turn in the same run.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

DEFAULT = ("text", "recurrent", "gpu", "training")
PARTS = (*DEFAULT, "quality", "scale", "duration", "html")


def run(part: str, options: Sequence[str]) -> None:
    """Run a part, and import no other: a machine may lack what the others need."""
    import_module(f"benchmarks.{part}").main(options)


def main() -> None:
    match sys.argv[1:]:
        case []:
            for part in DEFAULT:
                print(f"\n== {part}\n", flush=True)
                run(part, [])
        case [part, *options] if part in PARTS:
            run(part, options)
        case ["-h" | "--help"]:
            print(__doc__)
        case [part, *_]:
            sys.exit(f"benchmarks: unknown part {part!r}; expected one of {', '.join(PARTS)}")


if __name__ == "__main__":
    main()
