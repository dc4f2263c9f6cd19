"""Hugging Face datasets: a folder of ``save_to_disk``, or a dataset of the hub.

Both end as Arrow files, which :mod:`corpus.sources.arrow` reads; only to fetch one from the
hub the package ``datasets`` is needed (``pip install inkstone[hub]``).
"""

import json
from pathlib import Path
from typing import Any

from clusters.config import ConfigError, nearest
from clusters.external import hashed
from contracts.manifest import ExternalInput
from corpus.sources.config import HuggingFaceSource
from corpus.sources.record import ShardFile

_STATE = "state.json"
_SPLITS = "dataset_dict.json"


def list_files(source: HuggingFaceSource, key: str) -> list[ShardFile]:
    """The dataset's Arrow files, in order.

    Raises:
        ConfigError: no such dataset, split or package, a split that is cut or added, or the
            hub cannot be reached.
    """
    if "[" in source.split or "+" in source.split:  # the files behind it would be read whole
        raise ConfigError(
            f"{key}.split: {source.split!r} is no split's name; name one split, without slices, "
            "in each source"
        )
    folder = Path(source.path)
    if folder.is_dir() and any((folder / name).exists() for name in (_STATE, _SPLITS)):
        paths = _saved(folder, source, key)
    else:
        paths = _of_hub(source, key)
    files = []
    for number, path in enumerate(paths):
        try:
            stat = path.stat()
        except OSError as error:
            raise ConfigError(f"{key}.path: {path} cannot be read: {error.strerror}") from error
        version = f"{stat.st_size}-{stat.st_mtime_ns}"
        name = f"{source.split}-{number:05d}.arrow"
        path = path.absolute()
        files.append(ShardFile(path=str(path), name=name, bytes=stat.st_size, version=version))
    return files


def external_inputs(source: HuggingFaceSource, key: str) -> list[ExternalInput]:
    """Every Arrow file, hashed. Raises ConfigError as ``list_files``."""
    return [
        hashed(Path(file.path), f"{key}/{file.name}", f"{key}.path")
        for file in list_files(source, key)
    ]


def _saved(folder: Path, source: HuggingFaceSource, key: str) -> list[Path]:
    """Arrow files that ``save_to_disk`` left; of a DatasetDict those of the split."""
    if (folder / _SPLITS).exists():
        splits = _json(folder / _SPLITS, key)["splits"]
        if source.split not in splits:
            hint = nearest(source.split, splits)
            raise ConfigError(f"{key}.split: {source.split!r} is none of {splits}{hint}")
        folder = folder / source.split
    state = _json(folder / _STATE, key)
    return [folder / item["filename"] for item in state["_data_files"]]


def _json(path: Path, key: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}.path: {path} cannot be read: {error}") from error


def _of_hub(source: HuggingFaceSource, key: str) -> list[Path]:
    """Arrow files of the package's cache, fetched where they are not there."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"{key}.path: {source.path!r} is no folder of save_to_disk; to fetch it from the "
            "hub install the package: pip install 'inkstone[hub]'"
        ) from error
    try:
        dataset = datasets.load_dataset(
            source.path, source.subset, split=source.split, revision=source.revision
        )
    except Exception as error:  # the package raises of its own, of httpx's and of pyarrow's
        detail = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{key}.path: dataset {source.path!r} (split {source.split!r}) cannot be loaded: "
            f"{type(error).__name__}: {detail}; offline, name a folder written by save_to_disk"
        ) from error
    return [Path(item["filename"]) for item in dataset.cache_files]
