"""Compressed files as streams."""

import gzip
from typing import IO, cast

import pyarrow as pa

CODECS = {".gz": "gzip", ".zst": "zstd"}
"""The compression that each file ending stands for."""

TOO_LONG_WINDOW = "Frame requires too much memory"
"""What Arrow says of a zstd window of more than 128 MiB, as `zstd --long=31` writes."""


class TrailingDataError(OSError):
    """A gzip file goes on with something else."""


class _GzipFile(gzip.GzipFile):
    """A gzip file that tells data after its end from a file that is not gzip at all."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except gzip.BadGzipFile as error:
            if self.tell() and str(error).startswith("Not a gzipped file"):
                raise TrailingDataError from None
            raise


def decompressed(file: IO[bytes], codec: str | None) -> IO[bytes]:
    """Return the decompressed content of an open file; `codec` is `gzip`, `zstd` or None.

    Unlike Arrow, the `gzip` module reads files that are padded with zeros, as gunzip does.
    """
    if codec == "gzip":
        return cast(IO[bytes], _GzipFile(fileobj=file))
    return pa.CompressedInputStream(file, codec) if codec else file
