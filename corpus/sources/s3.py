"""Objects of an S3-like store, through pyarrow. Credentials come from the environment only."""

import os
import re
from functools import lru_cache
from typing import Any

from clusters.config import ConfigError
from corpus.sources.config import FilesSource

SCHEME = "s3://"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_CHAINS = (
    "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip


def find(source: FilesSource, endings: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """(URL, relative name, bytes) of the objects of a key, prefix or pattern.

    Raises:
        OSError: what the store says.
        ConfigError: no credentials, or no bucket.
    """
    from pyarrow import fs

    store = filesystem(source)
    key = _key(source.path)
    if not _wildcards(key):
        info = store.get_file_info(key)
        if info.type == fs.FileType.File:
            return [(source.path, key.rsplit("/", 1)[-1], info.size)]
    base = fixed_folder(key) if _wildcards(key) else key.rstrip("/") + "/"
    wanted = _pattern(key[len(base) :]) if _wildcards(key) else None
    selector = fs.FileSelector(base.rstrip("/"), allow_not_found=True, recursive=True)
    found = []
    for info in store.get_file_info(selector):
        name = info.path[len(base) :]
        fits = wanted.fullmatch(name) if wanted else name.endswith(endings)
        if info.type == fs.FileType.File and fits:
            found.append((SCHEME + info.path, name, info.size))
    return found


def open_object(source: FilesSource, url: str) -> Any:
    """The object as a file that can seek; each read is one request of its range.

    Raises:
        OSError: what the store says.
    """
    return filesystem(source).open_input_file(_key(url))


def etag(source: FilesSource, url: str) -> str:
    """The object's etag now. Raises OSError as ``open_object`` does."""
    with open_object(source, url) as stream:
        metadata = stream.metadata() or {}
    tags = [value for name, value in metadata.items() if _text(name).lower() == "etag"]
    return _text(tags[0]).strip('"') if tags else f"size-{stream_size(metadata)}"


def stream_size(metadata: Any) -> str:
    """Content length a store gives, where it gives no etag."""
    return next((_text(v) for k, v in metadata.items() if _text(k) == "Content-Length"), "unknown")


def filesystem(source: FilesSource) -> Any:
    """Pyarrow's file system for a source.

    Raises:
        ConfigError: no credentials where the source is not ``anonymous``.
    """
    endpoint = source.endpoint or os.environ.get("AWS_ENDPOINT_URL")
    region = source.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    secret = tuple(os.environ.get(name) for name in (*_KEYS, "AWS_SESSION_TOKEN"))
    if not source.anonymous and not all(secret[:2]) and not any(map(os.environ.get, _CHAINS)):
        raise ConfigError(
            f"no credentials for {source.path}: set {' and '.join(_KEYS)} in the environment, or "
            "anonymous: true for a public bucket"
        )
    return _filesystem(endpoint, region or "us-east-1", source.anonymous, secret)


@lru_cache(maxsize=8)
def _filesystem(
    endpoint: str | None, region: str, anonymous: bool, secret: tuple[str | None, ...]
) -> Any:
    from pyarrow import fs

    options: dict[str, Any] = {"region": region, "endpoint_override": endpoint}
    if anonymous:
        options["anonymous"] = True
    elif all(secret[:2]):
        options |= dict(zip(("access_key", "secret_key", "session_token"), secret, strict=True))
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=4)
    return fs.S3FileSystem(retry_strategy=retries, connect_timeout=10, **options)


def fixed_folder(pattern: str) -> str:
    """The part of a glob pattern up to the last slash before its first wildcard."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]


def _wildcards(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` stays in its folder, ``**/`` crosses folders."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", glob)
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    made = [
        signs.get(part) or (_class(part) if part[:1] == "[" else re.escape(part)) for part in parts
    ]
    return re.compile("".join(made), re.DOTALL)


def _class(part: str) -> str:
    return part.replace("[!", "[^", 1) if part.startswith("[!") else part


def _key(url: str) -> str:
    if not url.startswith(SCHEME):
        raise ConfigError(f"{url!r}: known are paths of this machine and {SCHEME}BUCKET/...")
    return url[len(SCHEME) :]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
