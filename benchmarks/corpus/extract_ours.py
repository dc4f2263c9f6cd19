"""Extracts every page of an archive by ours: the other side of ``peers/extract_pages.py``."""

import json
import sys
import time
from collections import Counter

from fastwarc.warc import ArchiveIterator

from corpus.extract.config import ExtractConfig
from corpus.extract.page import extract_page


def main() -> None:
    config = ExtractConfig(metadata=False)
    with open(sys.argv[1], "rb") as archive:
        pages = {
            record.headers["WARC-Target-URI"]: record.reader.read()
            for record in ArchiveIterator(archive, parse_http=True)
        }
    for page in list(pages.values())[:5]:  # imports and compiled patterns
        extract_page(page, config)
    started, used = time.perf_counter(), time.process_time()
    found = {url: extract_page(page, config) for url, page in pages.items()}
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({url: page.text for url, page in found.items()}, file)
    by = Counter(page.extractor for page in found.values())
    careful = round(by["careful"] / len(found), 3)
    sizes = {"seconds": seconds, "cpu_seconds": cpu, "pages": len(found)}
    print(json.dumps(sizes | {"careful_share": careful}))


if __name__ == "__main__":
    main()
