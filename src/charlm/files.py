"""Files: atomic writes, hashes and errors."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, and rename it to `path` when the block ends.

    If the block raises, the temporary file is removed, so `path` never holds half a result. The
    data reach the disk before the name does (fsync, then rename).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp sets mode 0600; results get the mode of the user's other new files.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        error.filename = error.filename or str(path)  # missing after a failed write
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with its line ends unchanged."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def describe_os_error(error: OSError, advice: str) -> str:
    """Return an error in one line: the file, what is wrong and what to do.

    For a full disk, which has advice of its own, the line names the disk.
    """
    place = f"{error.filename}: " if error.filename else ""
    problem = os.strerror(error.errno) if error.errno else str(error)
    if error.errno not in DISK_FULL:
        return f"{place}{problem}; {advice}"
    disk = next(filter(os.path.ismount, Path(os.path.abspath(error.filename or ".")).parents), None)
    where = f" (the disk of {disk})" if disk and error.errno != errno.EFBIG else ""
    return f"{place}{problem}{where}; free some space, or write to another disk"
