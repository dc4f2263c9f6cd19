"""Extracts every page of an archive by trafilatura with its defaults, less comments.

python extract_pages.py ARCHIVE OUT.json

Comments are off because the truth holds none; metadata is off, as it is on the other side.
"""

import json
import sys
import time

from fastwarc.warc import ArchiveIterator
from trafilatura import extract

with open(sys.argv[1], "rb") as archive:
    pages = {
        record.headers["WARC-Target-URI"]: record.reader.read()
        for record in ArchiveIterator(archive, parse_http=True)
    }


def text(page: bytes) -> str:
    try:
        return extract(page, include_comments=False) or ""
    except ValueError:
        return ""


for page in list(pages.values())[:5]:  # imports and compiled patterns
    text(page)
started, used = time.perf_counter(), time.process_time()
texts = {url: text(page) for url, page in pages.items()}
seconds, cpu = time.perf_counter() - started, time.process_time() - used
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(texts, file)
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "pages": len(texts)}))
