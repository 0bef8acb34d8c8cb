"""The machine on which this process runs."""

import platform
import re
from pathlib import Path


def processor() -> str:
    """Return the name of this machine's processor, its architecture and its operating system."""
    try:
        cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = re.search(r"(?m)^model name\s*: (.*)", cpus)
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {platform.machine()}, {platform.system()}"
