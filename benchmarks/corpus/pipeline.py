"""Web pages and prose to tokens: the whole pipeline, ours and FineWeb's in datatrove.

python -m benchmarks.corpus.pipeline [MEGABYTES_OF_PROSE]

Both read the same files (the two web archives and prose in shards) with two workers, as whole
processes with their start: extraction, English, Gopher's, C4's and FineWeb's rules, MinHash of
14 bands of 8 rows, tokens by the same tokenizer. The tokenizer is trained before the clock
starts. Texts are those of INKSTONE_DATA.
"""

import gzip
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

from benchmarks.peers import peer_python, run_peer, run_timed
from benchmarks.report import keep

RECIPE = Path(__file__).with_suffix(".yaml")
PEER = Path(__file__).parent / "peers" / "pipeline.py"
GOAL = 4.0
SHARDS = 4
PROSE_MEGABYTES = 40


def prose(path: Path, size: int) -> Iterator[dict[str, str]]:
    """Documents of a ``.jsonl.zst`` until ``size`` bytes of text, evenly from all of it."""
    with open(path, "rb") as raw:
        whole = sum(len(json.loads(line)["text"].encode()) for line in _lines(raw))
    every = max(1, round(whole / size))
    with open(path, "rb") as raw:
        for number, line in enumerate(_lines(raw)):
            if number % every == 0:
                yield json.loads(line)


def _lines(raw: io.BufferedReader) -> Iterator[str]:
    return io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")


def prepare(data: Path, folder: Path, size: int) -> tuple[int, list[str]]:
    """Lay out the input; bytes of prose, and texts to train the tokenizer on."""
    (folder / "web").mkdir(parents=True)
    (folder / "prose").mkdir()
    for name in ("article_extraction", "mixed_pages"):
        shutil.copy(data / "web" / f"{name}.warc.gz", folder / "web")
    total, texts = 0, []
    files = [
        gzip.open(folder / "prose" / f"{i}.jsonl.gz", "wt", encoding="utf-8", compresslevel=1)
        for i in range(SHARDS)
    ]
    for number, row in enumerate(prose(data / "corpus" / "en_prose.jsonl.zst", size)):
        files[number % SHARDS].write(json.dumps(row) + "\n")
        total += len(row["text"].encode())
        if number % 8 == 0:
            texts.append(row["text"])
    for file in files:
        file.close()
    return total, texts


def train(texts: list[str], store: Path) -> Path:
    """A tokenizer artifact of a small corpus made of ``texts``; its folder of files."""
    from corpus.tokenizer import save_tokenizer, train_tokenizer

    folder = store / "given"
    folder.mkdir(parents=True)
    save_tokenizer(train_tokenizer(texts, 32_000), folder, "chatml", 2048)
    return folder


def ours(source: Path, folder: Path, tokenizer: Path) -> dict[str, float]:
    """Run the recipe on two workers; seconds, and tokens and documents that came out."""
    command = [sys.executable, "-m", "inkstone", "run", str(RECIPE)]
    command += ["--set", f"store={folder}/store", "--set", f"runs={folder}/runs"]
    env = {"BENCH_INPUT": str(source), "BENCH_TOKENIZER": str(tokenizer)}
    found = run_timed(command, env=env)
    run_folder = folder / "runs" / "bench-pipeline"
    shown = run_timed(
        [sys.executable, "-m", "inkstone", "corpus", "stats", f"{run_folder}/tokens", "--json"]
    )
    whole = [shown[split] for split in ("train", "validation")]
    return {
        "seconds": found["process_seconds"],
        "tokens": sum(split["tokens"] for split in whole),
        "documents": sum(split["documents"] for split in whole),
    }


def main() -> None:
    data = Path(os.environ["INKSTONE_DATA"])
    size = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else PROSE_MEGABYTES * 10**6
    model = next(peer_python().parents[1].rglob("lid.176.ftz"))
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as place:
        folder = Path(place)
        prose_bytes, texts = prepare(data, folder / "in", size)
        tokenizer = train(texts, folder)
        mine = ours(folder / "in", folder, tokenizer)
        files = (tokenizer / "tokenizer.json", model)
        theirs = run_peer(PEER, folder / "in", folder / "datatrove", *files)
    ratio = theirs["process_seconds"] / mine["seconds"]
    keep(
        "corpus-pipeline",
        what=f"web archives (697 pages) and {prose_bytes / 1e6:.0f} MB of prose to tokens, "
        "2 workers, whole processes",
        ours=round(mine["seconds"], 1),
        unit="s",
        peer="datatrove 0.10.1, its FineWeb example",
        theirs=round(theirs["process_seconds"], 1),
        ratio=round(ratio, 2),
        goal=f">= {GOAL} times as fast",
        met=ratio >= GOAL,
        our_tokens=mine["tokens"],
        their_tokens=theirs["tokens"],
        our_documents=mine["documents"],
        their_documents=theirs["documents"],
    )


if __name__ == "__main__":
    main()
