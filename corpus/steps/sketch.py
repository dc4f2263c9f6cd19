"""Step ``sketch``: what dedup needs to know of one shard's candidates."""

from functools import lru_cache
from pathlib import Path

from blake3 import blake3

from clusters.units import Unit
from corpus.config import BuildConfig
from corpus.dedup.config import DedupConfig
from corpus.dedup.minhash import Sketcher
from corpus.dedup.sketches import SketchWriter
from corpus.tables import batches

_COLUMNS = ["uid", "id", "source", "text", "bytes", "lang"]


@lru_cache(maxsize=1)
def _sketcher(config: str, min_paragraph_chars: int) -> Sketcher:
    return Sketcher(DedupConfig.model_validate_json(config), min_paragraph_chars)


def sketch(unit: Unit, candidates: Path, config: BuildConfig) -> None:
    """Sketch every candidate, in the shard's order; counts documents and bytes."""
    dedup = config.dedup
    exact = dedup.verify == "exact"
    sketcher = _sketcher(dedup.model_dump_json(), config.split.min_paragraph_chars)
    documents = size_of_all = 0
    with SketchWriter(unit, signatures=dedup.verify == "estimate", shingles=exact) as out:
        for batch in batches(candidates, _COLUMNS):
            columns = (batch[name].to_pylist() for name in _COLUMNS)
            for uid, id_, source, text, size, language in zip(*columns, strict=True):
                found = sketcher.sketch(text, language)
                shingles = sketcher.shingles(text, language) if exact else None
                out.add(uid, _name(source, id_), size, found, shingles)
                documents, size_of_all = documents + 1, size_of_all + size
    unit.stats |= {"documents": documents, "bytes": size_of_all}


def _name(source: str, id_: str) -> int:
    raw = f"{source}\x00{id_}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake3(raw).digest(8), "little")
