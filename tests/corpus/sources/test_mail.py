import json
import random
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from corpus.config import BuildConfig, FilesSource
from corpus.sources.mail import mail_record
from corpus.sources.plan import plan_shards, read_shard
from corpus.sources.record import BadRecord, Record
from tests.corpus.sources.conftest import source_of


def _mail(text: str, subject: str = "Grüße aus 北京", html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "someone@example.org"
    message["Subject"] = subject
    message["Date"] = "Tue, 01 Jul 2003 10:52:37 +0200"
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


def _read(path: Path, **more: Any) -> dict[str, Record | BadRecord]:
    config = BuildConfig.model_validate({"sources": [source_of(path, "mail", **more)]})
    found = [r for shard in plan_shards(config) for r in read_shard(config, shard)]
    made = {record.key: record for record in found}
    assert len(made) == len(found)
    return made


def _one(raw: bytes) -> Record | BadRecord:
    return mail_record(FilesSource(path="x", format="mail", source="test"), raw, "key")


def test_headers_are_decoded_and_the_text_part_is_preferred() -> None:
    message = _mail("Plain text.\n", html="<p>HTML text.</p>")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="a.pdf")
    record = _one(message.as_bytes())
    assert isinstance(record, Record)
    assert record.text.strip() == "Plain text."
    assert record.title == "Grüße aus 北京"
    assert record.date == "2003-07-01T10:52:37+02:00"
    assert record.html is None


def test_html_alone_goes_to_extraction_with_its_charset() -> None:
    message = EmailMessage()
    message.set_content("<p>caf\xe9</p>", subtype="html", charset="latin-1", cte="8bit")
    record = _one(message.as_bytes())
    assert isinstance(record, Record)
    assert record.html is not None
    assert b"caf\xe9" in record.html
    assert record.charset == "iso-8859-1"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"Content-Type: image/png\n\n\x89PNG", "no_text_part"),
        (b"Content-Type: text/plain\n\ncaf\xe9 au lait, s'il vous pla\xeet", "not_utf8"),
    ],
)
def test_mail_without_readable_text_is_bad(raw: bytes, reason: str) -> None:
    record = _one(raw)
    assert isinstance(record, BadRecord)
    assert record.reason.startswith(reason)


def test_random_bytes_never_raise() -> None:
    rng = random.Random()
    whole = _mail("text " * 20, html="<p>x</p>").as_bytes()
    for _ in range(200):
        raw = bytearray(whole)
        for _ in range(rng.randint(1, 30)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        assert isinstance(_one(bytes(raw)), Record | BadRecord)


def test_eml_maildir_mbox_and_json_lines_give_the_same_mails(tmp_path: Path) -> None:
    mails = [_mail(f"Number {i}.\nFrom here on.\n").as_bytes() for i in range(5)]
    for folder in ("eml", "box/cur", "box/new", "box/tmp", "one", "rows"):
        (tmp_path / folder).mkdir(parents=True)
    for i, raw in enumerate(mails):
        (tmp_path / "eml" / f"{i}.eml").write_bytes(raw)
        place = "cur" if i % 2 else "new"
        (tmp_path / "box" / place / f"100{i}.host:2,S").write_bytes(raw)
    (tmp_path / "box" / "tmp" / "half").write_bytes(b"not delivered yet")
    quoted = [raw.replace(b"\nFrom here", b"\n>From here") for raw in mails]
    box = b"".join(b"From a@b Tue Jul  1 10:52:37 2003\n" + raw + b"\n" for raw in quoted)
    (tmp_path / "one" / "all.mbox").write_bytes(box)
    rows = "".join(json.dumps({"id": i, "text": r.decode()}) + "\n" for i, r in enumerate(mails))
    (tmp_path / "rows" / "mail.jsonl").write_text(rows)
    expected = [f"Number {i}.\nFrom here on." for i in range(5)]
    for folder in ("eml", "box", "one", "rows"):
        found = _read(tmp_path / folder)
        texts = sorted(r.text.strip() for r in found.values() if isinstance(r, Record))
        assert texts == expected, folder
    assert {"cur/1001.host", "new/1000.host"} <= set(_read(tmp_path / "box"))


def test_a_huge_mail_in_an_mbox_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    big = _mail("line of text\n" * 1000).as_bytes()
    small = _mail("small").as_bytes()
    path = tmp_path / "x.mbox"
    path.write_bytes(b"From a\n" + big + b"\n\nFrom b\n" + small)
    found = list(_read(path, max_record_bytes=5000).values())
    assert isinstance(found[0], BadRecord)
    assert found[0].reason.startswith("too_long")
    assert isinstance(found[1], Record)


@pytest.mark.data
def test_thousands_of_real_mails_give_text_or_a_reason(data_dir: Path) -> None:
    found = _read(data_dir / "lowquality" / "spamassassin_mail.jsonl.gz")
    good = [r for r in found.values() if isinstance(r, Record)]
    assert len(found) == 6046
    assert len(good) > 5700
    assert sum(r.title is not None for r in good) > 5500


def test_half_a_character_costs_no_mail_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    raws = ["Subject: a\n\nhalf \ud800", "Subject: b\n\nfine", "Subject: c\n\ncaf\udcc3\udca9"]
    path.write_text("".join(json.dumps({"id": i, "text": r}) + "\n" for i, r in enumerate(raws)))
    found = _read(path)
    texts = [r.text for r in found.values() if isinstance(r, Record)]
    assert texts == ["half ?", "fine", "café"]


def test_an_mbox_of_one_line_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.mbox"
    path.write_bytes(b"x" * 5001)
    (bad,) = _read(path, max_record_bytes=5000).values()
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith("too_long")
    path.write_bytes(b"x" * 5001 + b"\n\nFrom b\n" + _mail("small").as_bytes())
    first, second = _read(path, max_record_bytes=5000).values()
    assert isinstance(first, BadRecord)
    assert isinstance(second, Record)


def test_an_odd_charset_costs_no_mail() -> None:
    for name in (b"undefined", b"klingon", b"hex"):
        record = _one(b"Content-Type: text/plain; charset=" + name + b"\n\nplain text")
        assert isinstance(record, Record), record
        assert record.text == "plain text"
