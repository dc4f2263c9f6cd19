"""F1 of personal data found, against presidio's regex recognisers, on labelled texts.

A found span is right where a labelled one of its type overlaps it by half (intersection over
union); each labelled span counts once. The same for both. Texts are split in two by a hash: our
patterns were written on one half, and presidio's score threshold is the one that is best for it
there; the figures are of the other half.

python -m benchmarks.corpus.pii
"""

import gzip
import json
import os
import sys
import tempfile
import time
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmarks.peers import run_peer
from benchmarks.report import keep
from corpus.safety.config import PiiConfig
from corpus.safety.pii.mask import Masker

PEER = Path(__file__).parent / "peers" / "presidio_spans.py"
TYPES = {
    "EMAIL_ADDRESS": "EMAIL",
    "IP_ADDRESS": "IP",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CREDIT_CARD",
    "IBAN_CODE": "IBAN",
    "US_SSN": "US_SSN",
}
"""presidio's and the labels' name of a type -> ours: the shared types."""
Spans = list[tuple[int, int, str]]


def half(text: str) -> int:
    """Which half a text belongs to: 0 to develop on, 1 to report."""
    return blake2b(text.encode(), digest_size=1).digest()[0] % 2


def labels(row: dict[str, Any]) -> Spans:
    """The labelled spans of the shared types."""
    return [
        (span["start_position"], span["end_position"], TYPES[span["entity_type"]])
        for span in row["spans"]
        if span["entity_type"] in TYPES
    ]


def overlaps(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    """Whether two spans are of a type and share half of what they cover together."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return one[2] == other[2] and 2 * shared >= max(one[1], other[1]) - min(one[0], other[0])


def count(found: list[Spans], wanted: list[Spans]) -> Counter[tuple[str, str]]:
    """(type, right | wrong | missed) -> spans."""
    counts: Counter[tuple[str, str]] = Counter()
    for got, labelled in zip(found, wanted, strict=True):
        left = list(labelled)
        for span in got:
            match = next((label for label in left if overlaps(span, label)), None)
            counts[span[2], "wrong" if match is None else "right"] += 1
            if match is not None:
                left.remove(match)
        for label in left:
            counts[label[2], "missed"] += 1
    return counts


def f1(counts: Counter[tuple[str, str]], of: str | None = None) -> float:
    """F1 over all types, or of one."""
    total = {
        what: sum(n for (kind, w), n in counts.items() if w == what and of in (None, kind))
        for what in ("right", "wrong", "missed")
    }
    return 2 * total["right"] / max(2 * total["right"] + total["wrong"] + total["missed"], 1)


def ours(texts: list[str]) -> tuple[list[Spans], float]:
    """(spans of each text, seconds); private addresses count, as they do among the labels."""
    masker = Masker(PiiConfig(private_ips=True))
    masker.find("warm up +1 212 555 2368")
    started = time.perf_counter()
    found = [[(s.start, s.end, s.type) for s in masker.find(text)] for text in texts]
    seconds = time.perf_counter() - started
    return [[s for s in spans if s[2] in TYPES.values()] for spans in found], seconds


def theirs(texts: list[str]) -> tuple[list[list[list[Any]]], float]:
    """(start, end, type, score of each text's spans, seconds)."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "texts.json", Path(folder) / "spans.json"
        given.write_text(json.dumps(texts))
        said = run_peer(PEER, given, out)
        return json.loads(out.read_text()), said["seconds"]


def above(spans: list[list[list[Any]]], threshold: float) -> list[Spans]:
    """Spans of the shared types with a score of at least the threshold."""
    return [
        [(start, end, TYPES[kind]) for start, end, kind, score in one if score >= threshold]
        for one in spans
    ]


def best_threshold(spans: list[list[list[Any]]], wanted: list[Spans]) -> float:
    """The score threshold with the highest F1."""
    scores = sorted({score for one in spans for _, _, _, score in one} | {0.0})
    return max(scores, key=lambda score: f1(count(above(spans, score), wanted)))


def main() -> None:
    folder = os.environ.get("INKSTONE_DATA") or sys.exit("INKSTONE_DATA names no folder of data")
    with gzip.open(Path(folder) / "pii" / "presidio_synth.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    texts = [row["full_text"] for row in rows]
    report = [i for i, text in enumerate(texts) if half(text) == 1]
    develop = [i for i, text in enumerate(texts) if half(text) == 0]
    wanted = [labels(row) for row in rows]
    found, our_seconds = ours(texts)
    peer, peer_seconds = theirs(texts)
    threshold = best_threshold([peer[i] for i in develop], [wanted[i] for i in develop])
    our_counts = count([found[i] for i in report], [wanted[i] for i in report])
    peer_counts = count([above(peer, threshold)[i] for i in report], [wanted[i] for i in report])
    our_f1, peer_f1 = f1(our_counts), f1(peer_counts)
    keep(
        "corpus-pii",
        what=f"personal data found in {len(report)} labelled texts: span F1 over shared types",
        ours=round(our_f1, 4),
        unit="F1",
        peer="presidio-analyzer 2.2.366, pattern recognisers, best score threshold",
        theirs=round(peer_f1, 4),
        ratio=round(our_f1 / peer_f1, 3),
        goal="F1 above presidio's",
        met=our_f1 > peer_f1,
        by_type={
            kind: {
                "ours": round(f1(our_counts, kind), 4),
                "theirs": round(f1(peer_counts, kind), 4),
            }
            for kind in TYPES.values()
        },
        spans=sum(len(wanted[i]) for i in report),
        threshold=threshold,
        texts_per_second={
            "ours": round(len(texts) / our_seconds),
            "theirs": round(len(texts) / peer_seconds),
        },
    )


if __name__ == "__main__":
    main()
