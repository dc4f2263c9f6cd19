"""The FineWeb pipeline in datatrove, as a whole process: python pipeline.py IN OUT TOKENIZER MODEL.

IN holds ``web/*.warc.gz`` and ``prose/*.jsonl.gz``; MODEL is a fastText language model. The
steps and thresholds are those of datatrove's own ``examples/fineweb.py`` without its URL list;
prose skips the extractor. Two workers. Prints what came out as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig

WORKERS = 2
BUCKETS = 14
THRESHOLD = 0.65
"""Of datatrove's LanguageFilter."""


class English(BaseFilter):
    """``LanguageFilter(["en"])`` with a model that lies on disk instead of a download."""

    name = "English"

    def __init__(self, model: str) -> None:
        super().__init__()
        self.path = model
        self._model: Any = None

    def filter(self, doc: Document) -> bool:
        """True where the model says English, surely enough."""
        if self._model is None:
            import fasttext

            self._model = fasttext.load_model(self.path)
        labels, scores = self._model.predict(doc.text.replace("\n", " "), k=1)
        doc.metadata["language"] = labels[0].split("__")[2]
        doc.metadata["language_score"] = float(scores[0])
        return doc.metadata["language"] == "en" and scores[0] > THRESHOLD


def filters(model: str) -> list:
    return [
        English(model),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]


def run(root: Path, name: str, pipeline: list, tasks: int = WORKERS) -> None:
    LocalPipelineExecutor(
        pipeline, tasks=tasks, workers=WORKERS, logging_dir=str(root / "logs" / name)
    ).run()


def main() -> None:
    source, root, tokenizer, model = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
    clean, minhash, kept = root / "clean", root / "minhash", root / "kept"
    run(
        root,
        "web",
        [
            WarcReader(str(source / "web"), glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=True),
            *filters(model),
            JsonlWriter(str(clean), output_filename="web-${rank}.jsonl.gz"),
        ],
    )
    run(
        root,
        "prose",
        [
            JsonlReader(str(source / "prose"), glob_pattern="*.jsonl.gz"),
            *filters(model),
            JsonlWriter(str(clean), output_filename="prose-${rank}.jsonl.gz"),
        ],
    )
    config = MinhashConfig(
        hash_config=HashConfig(hash_fc="sha1", precision=64),
        num_buckets=BUCKETS,
        hashes_per_bucket=8,
        n_grams=5,
    )
    signatures, buckets, remove = (str(minhash / n) for n in ("signatures", "buckets", "remove"))
    run(root, "sign", [JsonlReader(str(clean)), MinhashDedupSignature(signatures, config)])
    run(root, "match", [MinhashDedupBuckets(signatures, buckets, config=config)], BUCKETS)
    run(root, "cluster", [MinhashDedupCluster(buckets, remove, config=config)], 1)
    tokens = DocumentTokenizer(
        str(root / "tokens"),
        tokenizer_name_or_path=tokenizer,
        local_working_dir=str(root / "working"),
        eos_token="<|endoftext|>",
        shuffle_documents=False,
    )
    run(
        root,
        "tokens",
        [
            JsonlReader(str(clean)),
            MinhashDedupFilter(remove),
            JsonlWriter(str(kept)),
            tokens,
        ],
    )
    written = sum(path.stat().st_size for path in (root / "tokens").glob("*.ds"))
    ends = sum(path.stat().st_size for path in (root / "tokens").glob("*.ds.index"))
    print(json.dumps({"tokens": written // 2, "documents": ends // 8}))


if __name__ == "__main__":
    main()
