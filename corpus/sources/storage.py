"""Where input files lie: this machine, or an S3-like store. Lists, opens, notices changes."""

import glob
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from corpus.errors import CorpusError
from corpus.sources import s3
from corpus.sources.config import FilesSource
from corpus.sources.record import ShardFile

LOCAL_BUFFER = 1 << 20
REMOTE_BUFFER = 8 << 20
_HEADS_AT_ONCE = 16


@dataclass(frozen=True)
class Found:
    """One file of a listing."""

    path: str
    name: str
    """Relative to the folder, or to the part of the pattern before its first wildcard."""
    bytes: int
    version: str


def is_remote(path: str) -> bool:
    """Whether a path is a URL, so no path of this machine."""
    return "://" in path


def find(source: FilesSource, endings: tuple[str, ...]) -> list[Found]:
    """Files of a path, folder (only those of ``endings``) or glob pattern, by name.

    Raises:
        OSError: what the file system or the store says.
    """
    if is_remote(source.path):
        found = s3.find(source, endings)
        with ThreadPoolExecutor(_HEADS_AT_ONCE) as pool:
            versions = list(pool.map(lambda item: s3.etag(source, item[0]), found))
        listed = [
            Found(path, name, size, version)
            for (path, name, size), version in zip(found, versions, strict=True)
        ]
    else:
        listed = [_found(path, name) for path, name in _local(source.path, endings)]
    return sorted(listed, key=lambda file: file.name)


def _local(pattern: str, endings: tuple[str, ...]) -> list[tuple[Path, str]]:
    path = Path(pattern)
    if path.is_file():
        return [(path, path.name)]
    if path.is_dir():
        below = [p for p in path.rglob("*") if p.name.endswith(endings) and p.is_file()]
        return [(p, p.relative_to(path).as_posix()) for p in below]
    base = Path(s3.fixed_folder(pattern))
    matches = [Path(p) for p in glob.glob(pattern, recursive=True)]
    return [(p, p.relative_to(base).as_posix()) for p in matches if p.is_file()]


def _found(path: Path, name: str) -> Found:
    stat = path.stat()
    return Found(str(path.absolute()), name, stat.st_size, _local_version(stat))


def _local_version(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}"


class InputFile(io.RawIOBase):
    """An input file opened for reading; tells lost storage from damaged content.

    Whatever the storage raises becomes a CorpusError, kept in ``lost`` too, as parsers
    wrap or swallow what their stream raises.
    """

    def __init__(self, source: FilesSource | None, file: ShardFile) -> None:
        super().__init__()
        self._source = source
        self._file = file
        self.lost: CorpusError | None = None
        self._stream: Any = None
        self._stream = self._asked(self._open)
        self.check()

    def check(self) -> None:
        """Raise where the file is not the one that was planned, or reading it failed.

        Raises:
            CorpusError: it changed, vanished or could not be read; names the file.
        """
        if self.lost is not None:
            raise self.lost
        if self._file.version is not None and self._asked(self._version) != self._file.version:
            raise self._gone("has changed since the stage started")

    def readinto(self, buffer: Any) -> int:
        """Read into ``buffer``; 0 at the end."""
        return self._asked(lambda: self._stream.readinto(buffer)) or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place."""
        self._asked(lambda: self._stream.seek(offset, whence))
        return self.tell()

    def tell(self) -> int:
        """Where it stands."""
        return self._asked(lambda: self._stream.tell())

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the stream; closing twice does nothing."""
        if not self.closed and self._stream is not None:
            self._stream.close()
        super().close()

    def _open(self) -> Any:
        if is_remote(self._file.path):
            assert self._source is not None
            return s3.open_object(self._source, self._file.path)
        return open(self._file.path, "rb", buffering=0)

    def _version(self) -> str:
        if is_remote(self._file.path):
            assert self._source is not None
            return s3.etag(self._source, self._file.path)
        return _local_version(os.stat(self._file.path))

    def _asked(self, ask: Any) -> Any:
        try:
            return ask()
        except FileNotFoundError as error:
            raise self._gone("has vanished since the stage started") from error
        except OSError as error:
            raise self._gone(f"cannot be read any more ({error.strerror or error})") from error

    def _gone(self, what: str) -> CorpusError:
        self.lost = CorpusError(
            f"input file {self._file.path} {what}, and nothing of its work unit is published; "
            "put it back as it was and run the same command again (finished units are kept), "
            "or leave it out of the source's path"
        )
        return self.lost


class Opened:
    """``with Opened(source, file) as stream``: buffered, checked again where it ends well."""

    def __init__(self, source: FilesSource | None, file: ShardFile) -> None:
        self.raw = InputFile(source, file)
        size = REMOTE_BUFFER if is_remote(file.path) else LOCAL_BUFFER
        self.stream: BinaryIO = io.BufferedReader(self.raw, size)

    def __enter__(self) -> BinaryIO:
        return self.stream

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.raw.check()
            elif self.raw.lost is not None and error is not self.raw.lost:
                raise self.raw.lost from error
        finally:
            self.stream.close()
