"""The documentation of installed Python packages: always there, offline.

What is read, and what the fingerprint says of it, comes from the RECORD of each
distribution, so another environment with the same versions is the same input.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

from clusters.config import ConfigError, nearest
from contracts.manifest import ExternalInput, canonical_json, hash_bytes, hash_file
from corpus.extract.markup import readable
from corpus.sources.config import PythonDocsSource
from corpus.sources.docstrings import module_document
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.text import document

DOCSTRINGS = "docstrings"
DOCS = "docs"

_TESTS = re.compile(r"(^|/)(tests?|testing|_tests|conftest\.py|test_[^/]*\.py|[^/]*_test\.py)(/|$)")
_NOT_TEXT = re.compile(
    r"(^|/)(top_level|entry_points|requirements[^/]*|CMakeLists|SOURCES|dependency_links)\.txt$"
)
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA$")  # not those of vendored packages
_README = re.compile(r"(^|/)README[^/.]*$")


@dataclass(frozen=True)
class _Package:
    """What is read of a distribution; asked once, as every look parses its metadata again."""

    name: str
    """In its one spelling (PEP 503)."""
    version: str
    url: str | None
    distribution: metadata.Distribution
    files: list[metadata.PackagePath]
    """Those that are documents or hold docstrings, by name."""


def external_inputs(source: PythonDocsSource, key: str) -> list[ExternalInput]:
    """One input per distribution: hash over its RECORD lines of the files that are read.

    Raises:
        ConfigError: no such package, or a file that RECORD has no hash of is gone.
    """
    inputs = []
    for package in _packages(source, key):
        lines = [_line(package, path, key) for path in package.files]
        if lines:
            name = f"{key}/{package.name}-{package.version}"
            checksum = hash_bytes(canonical_json(lines))
            size = sum(line[2] for line in lines)
            inputs.append(ExternalInput(name=name, bytes=size, blake3=checksum))
    return inputs


def _line(package: _Package, path: metadata.PackagePath, key: str) -> tuple[str, str, int]:
    """(name, checksum, bytes) of a file: from RECORD, or where it has none from the file."""
    if path.hash is not None and path.size is not None:
        return path.as_posix(), path.hash.value, path.size
    file = Path(str(package.distribution.locate_file(path)))
    try:
        size, checksum = hash_file(file)
    except OSError as error:
        raise ConfigError(
            f"{key}: package {package.name}: {file} stands in its RECORD without a hash and "
            f"cannot be read ({error.strerror}); install the package again, or name it in exclude"
        ) from error
    return path.as_posix(), checksum, size


def groups(source: PythonDocsSource, key: str) -> list[list[ShardFile]]:
    """The files of all distributions in a fixed order, cut in groups of ``shard_bytes``."""
    cut: list[list[ShardFile]] = []
    size = 0
    for package in _packages(source, key):
        for path in package.files:
            if not cut or size >= source.shard_bytes:
                cut.append([])
                size = 0
            cut[-1].append(
                ShardFile(
                    path=str(package.distribution.locate_file(path)),
                    name=path.as_posix(),
                    package=package.name,
                    url=package.url,
                    bytes=path.size or 0,
                )
            )
            size += path.size or 0
    return cut


def read_file(file: ShardFile) -> Iterator[Record | BadRecord]:
    """The document of one file: none where a module has no docstrings."""
    if file.name.endswith("/METADATA"):
        record = _readme(file)
    elif file.name.endswith(".py"):
        record = _module(file)
    else:
        record = document(DOCS, file, f"{file.package}/{file.name}")
    if record is not None:
        yield record


def _module(file: ShardFile) -> Record | BadRecord | None:
    name = re.sub(r"(/__init__)?\.py$", "", file.name).replace("/", ".")
    id_ = f"{file.package}/{name}"
    try:
        text, docstrings = module_document(name, Path(file.path).read_bytes())
    except OSError as error:
        reason = f"unreadable: {error.strerror}"
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f"unparsable: {error}"
    else:
        if not text:
            return None
        return Record(
            id=id_, key=id_, source=DOCSTRINGS, text=text, judged=docstrings, url=file.url
        )
    return BadRecord(id=id_, key=id_, source=DOCSTRINGS, reason=reason)


def _readme(file: ShardFile) -> Record | BadRecord | None:
    """The long description that a distribution's METADATA carries: its README."""
    id_ = f"{file.package}/README"
    try:
        payload = message_from_bytes(Path(file.path).read_bytes()).get_payload(decode=True)
        text = payload.decode("utf-8") if isinstance(payload, bytes) else ""
    except OSError as error:
        reason = f"unreadable: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"not_utf8: byte {error.start}"
    else:
        if not text.strip():
            return None
        return Record(id=id_, key=id_, source=DOCS, text=readable(text), url=file.url)
    return BadRecord(id=id_, key=id_, source=DOCS, reason=reason)


def _packages(source: PythonDocsSource, key: str) -> list[_Package]:
    """Wanted distributions by name; of two with one name that which Python would import.

    Raises:
        ConfigError: a package that is named is not installed, or nothing is.
    """
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        name = distribution.name
        if name:
            found.setdefault(_canonical(name), distribution)
    wanted = sorted(found) if source.packages is None else list(source.packages)
    for index, name in enumerate(wanted):
        if _canonical(name) not in found:
            hint = nearest(name, sorted(found))
            raise ConfigError(f"{key}.packages.{index}: {name!r} is not installed{hint}")
    excluded = {_canonical(name) for name in source.exclude}
    names = sorted({_canonical(name) for name in wanted} - excluded)
    packages = [_package(name, found[name]) for name in names]
    if not any(package.files for package in packages):
        raise ConfigError(f"{key}: no installed package with documentation is left to read")
    return packages


def _package(name: str, distribution: metadata.Distribution) -> _Package:
    headers = distribution.metadata
    return _Package(
        name=name,
        version=headers["Version"],
        url=_project_url(headers),
        distribution=distribution,
        files=_files(distribution),
    )


def _files(distribution: metadata.Distribution) -> list[metadata.PackagePath]:
    return sorted(
        (path for path in distribution.files or [] if _is_read(path.as_posix())),
        key=lambda path: path.as_posix(),
    )


def _is_read(name: str) -> bool:
    if name.startswith(("..", "/")) or _TESTS.search(name) or _NOT_TEXT.search(name):
        return False
    if _METADATA.match(name) or _README.search(name):
        return True
    return name.endswith((".py", ".md", ".rst", ".txt"))


def _canonical(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _project_url(headers: metadata.PackageMetadata) -> str | None:
    lines = [*headers.get_all("Home-page", []), *headers.get_all("Project-URL", [])]
    urls = [line.split(",", 1)[-1].strip() for line in lines]
    return next((url for url in urls if url.startswith("http")), None)
