"""Language identification of lingua's test sentences: ours beside lingua, py3langid, lid.176.

python -m benchmarks.corpus.langid [SENTENCES_PER_LANGUAGE]

One call per sentence, one thread, CPU time. Accuracy is the mean over languages. Ours is on
the frontier where no other is both more accurate and faster: on all 75 languages, on those
that every identifier knows, and on those that the other knows (it was right about one at least).
"""

import json
import random
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import mean

from benchmarks.corpus.mixed_pages_data import web_folder
from benchmarks.peers import run_peer
from benchmarks.report import keep
from corpus.language import identify
from corpus.language.config import LanguageConfig

PEERS = ("lingua", "lingua-low", "py3langid", "lid.176.ftz")
SCRIPT = Path(__file__).parent / "peers" / "langid.py"
PER_LANGUAGE = 200
SEED = 20
SAME = {"no": "nb", "iw": "he", "sh": "sr", "zh-hant": "zh"}


def sentences(per_language: int) -> list[tuple[str, str]]:
    """(language, sentence) pairs, drawn with a fixed seed."""
    archive = web_folder().parent / "langid" / "lingua_testdata.tar.gz"
    pairs: list[tuple[str, str]] = []
    draw = random.Random(SEED)
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            path = Path(member.name)
            if path.parent.name == "sentences" and path.suffix == ".txt":
                file = tar.extractfile(member)
                lines = [line.strip() for line in (file or ()) if line.strip()]
                texts = [line.decode("utf-8") for line in lines]
                chosen = draw.sample(texts, min(per_language, len(texts)))
                pairs += [(path.stem, text) for text in chosen]
    return pairs


def ours(texts: list[str]) -> tuple[list[str], float]:
    """Answers, and CPU seconds."""
    config = LanguageConfig(keep={})
    for text in texts[:200]:
        identify(text, config)
    used = time.process_time()
    answers = [identify(text, config).lang for text in texts]
    return answers, time.process_time() - used


def accuracies(pairs: list[tuple[str, str]], answers: list[str]) -> dict[str, float]:
    """Share of right answers by language."""
    right: dict[str, list[bool]] = {}
    for (language, _), answer in zip(pairs, answers, strict=True):
        right.setdefault(language, []).append(SAME.get(answer, answer) == language)
    return {language: mean(hits) for language, hits in right.items()}


def main() -> None:
    pairs = sentences(int(sys.argv[1]) if len(sys.argv) > 1 else PER_LANGUAGE)
    texts = [text for _, text in pairs]
    answers, seconds = ours(texts)
    by = {"ours": accuracies(pairs, answers)}
    rate = {"ours": len(texts) / seconds}
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "sentences.json"), Path(scratch, "out.json")
        source.write_text(json.dumps(texts), encoding="utf-8")
        for name in PEERS:
            said = run_peer(SCRIPT, name, source, out)
            by[name] = accuracies(pairs, json.loads(out.read_text()))
            rate[name] = len(texts) / said["cpu_seconds"]
    known = {name: {lang for lang, share in found.items() if share} for name, found in by.items()}
    common = set.intersection(*known.values())
    table = {name: _row(name, by, rate, known[name], common) for name in by}
    beaten = [name for name in PEERS if _beats(name, by, rate, known[name], common)]
    best = max(PEERS, key=lambda name: table[name]["all"])
    keep(
        "corpus-langid",
        what=f"language of {len(texts):,} sentences in {len(by['ours'])} languages, 1 thread",
        ours=round(rate["ours"]),
        unit="sentences/s",
        peer=f"{best} (the most accurate)",
        theirs=round(rate[best]),
        ratio=round(rate["ours"] / rate[best], 1),
        goal="no peer both more accurate and faster",
        met=not beaten,
        beaten_by=beaten,
        common_languages=len(common),
        table=table,
    )


def _row(name: str, by: dict, rate: dict, known: set[str], common: set[str]) -> dict:
    """Rate and accuracies of one identifier, and ours on the languages that it knows."""
    return {
        "sentences_per_second": round(rate[name]),
        "all": _mean(by[name], set(by[name])),
        "common": _mean(by[name], common),
        "languages": len(known),
        "on_its_languages": _mean(by[name], known),
        "ours_on_its_languages": _mean(by["ours"], known),
    }


def _beats(name: str, by: dict, rate: dict, known: set[str], common: set[str]) -> bool:
    """Whether a peer is faster and more accurate on one of the sets."""
    sets = (set(by[name]), common, known)
    better = any(_mean(by[name], s) > _mean(by["ours"], s) for s in sets)
    return better and rate[name] > rate["ours"]


def _mean(shares: dict[str, float], languages: set[str]) -> float:
    return round(mean(shares[language] for language in sorted(languages)), 4)


if __name__ == "__main__":
    main()
