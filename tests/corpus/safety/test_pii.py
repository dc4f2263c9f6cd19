import random
import string

import pytest

from corpus.safety.config import PiiConfig
from corpus.safety.pii.mask import Masker
from corpus.safety.pii.numbers import is_cn_id, luhn, mod97
from corpus.safety.pii.span import Span, without_overlaps

MASKER = Masker(PiiConfig())


def _with_luhn(body: str) -> str:
    return next(body + digit for digit in string.digits if luhn(body + digit))


def _cn_id(rng: random.Random) -> str:
    """By the standard's own formula: the sum of digit * 2^(17 - i) leaves 1 modulo 11."""
    body = f"110101{rng.randint(1950, 2010)}{rng.randint(1, 12):02d}15{rng.randint(0, 999):03d}"
    for check in "0123456789X":
        values = [*map(int, body), 10 if check == "X" else int(check)]
        if sum(v * 2 ** (17 - i) for i, v in enumerate(values)) % 11 == 1:
            return body + check
    raise AssertionError


def _token(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.Random().choices(alphabet, k=length))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jo.doe+x@mail.example.org, please.", "Write to <EMAIL>, please."),
        ("邮箱someone@example.com。", "邮箱<EMAIL>。"),
        ("See http://joe:secret@example.com/x", "See http://<URL_CREDENTIALS>@example.com/x"),
        ("From 8.8.8.8.", "From <IP>."),
        ("At 2001:4860:4860::8888 now", "At <IP> now"),
        ("Call +44 20 7946 0958 today", "Call <PHONE> today"),
        ("Call (212) 555-2368 today", "Call <PHONE> today"),
        ("电话13812345678。", "电话<PHONE>。"),
        ("Tel. 0755-12345678", "Tel. <PHONE>"),
        ("Card 4111 1111 1111 1111 ok", "Card <CREDIT_CARD> ok"),
        ("IBAN GB82 WEST 1234 5698 7654 32 THANKS", "IBAN <IBAN> THANKS"),
        ("SSN 123-45-6789", "SSN <US_SSN>"),
        ("key AKIAIOSFODNN7EXAMPLE done", "key <SECRET> done"),
        (f"token ghp_{_token(36)} done", "token <SECRET> done"),
        ("sk-proj-A1b2C3d4E5f6G7h8I9j0 x", "<SECRET> x"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nb",
            "a\n<SECRET>\nb",
        ),
    ],
)
def test_each_kind_is_masked(text: str, masked: str) -> None:
    assert MASKER.mask(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "Version 4.1.0.4 and v1.2.3.4 are out, as is 2.6.32.71.1",
        "Local ones: 10.0.0.1, 192.168.1.2, 127.0.0.1, ::1",
        "999.1.1.1 and 08.8.8.8 are none",
        "std::vector and Ab::Cd, at 12:30:45",
        "user@host and a @ b and @name",
        "In 1914-1918 and 2001-02-03 and 12/24/1999",
        "Pi is 3.14159265358979 and 1234567890 is a number",
        "Order 4111 1111 1111 1112 has a wrong digit",
        "ISBN 978-3-16-148410-0",
        "sk-learn-contrib-and-more-packages-here",
        "110101199003070000",
        "GB82 WEST 1234 5698 7654 33",
        "000-12-3456 and 123-45-678",
    ],
)
def test_what_looks_like_it_stays(text: str) -> None:
    assert MASKER.mask(text) == (text, {})


def test_private_addresses_are_an_option() -> None:
    masker = Masker(PiiConfig(private_ips=True))
    assert masker.mask("at 10.0.0.1 and fe80::1")[0] == "at <IP> and <IP>"


def test_only_the_chosen_types_are_masked() -> None:
    masker = Masker(PiiConfig(types=("EMAIL",)))
    text = "a@b.org 8.8.8.8 4111111111111111"
    assert masker.mask(text) == ("<EMAIL> 8.8.8.8 4111111111111111", {"EMAIL": 1})


def test_checked_numbers_of_every_kind_are_found_and_one_wrong_digit_is_not() -> None:
    rng = random.Random()
    for _ in range(50):
        card = _with_luhn("4" + "".join(rng.choices(string.digits, k=14)))
        assert [s.type for s in MASKER.find(f"pay {card} now")] == ["CREDIT_CARD"]
        number = _cn_id(rng)
        assert is_cn_id(number)
        assert [s.type for s in MASKER.find(f"身份证{number}，")] == ["CN_ID"]
        wrong = number[:-1] + ("0" if number[-1] != "0" else "1")
        assert not is_cn_id(wrong)
    assert mod97("DE89370400440532013000")
    assert not mod97("DE89370400440532013001")


def test_counts_and_placeholders_agree_and_masking_again_changes_nothing() -> None:
    rng = random.Random()
    samples = ["a@b.org", "8.8.4.4", "+1 212 555 2368", "4111-1111-1111-1111", "123-45-6789"]
    for _ in range(50):
        text = " and ".join(rng.choices(samples, k=rng.randint(0, 12)))
        masked, counts = MASKER.mask(text)
        assert sum(counts.values()) == masked.count("<")
        for kind, count in counts.items():
            assert masked.count(f"<{kind}>") == count
        assert MASKER.mask(masked) == (masked, {})


def test_overlapping_spans_leave_the_first_given() -> None:
    rng = random.Random()
    for _ in range(100):
        starts = [rng.randint(0, 60) for _ in range(rng.randint(0, 30))]
        spans = [Span(start, start + rng.randint(1, 9), str(i)) for i, start in enumerate(starts)]
        kept: list[Span] = []
        for span in spans:
            if all(span.end <= other.start or other.end <= span.start for other in kept):
                kept.append(span)
        assert without_overlaps(spans) == sorted(kept)


@pytest.mark.parametrize(
    "text",
    ["@" * 50_000, "1" * 50_000, "1." * 50_000, "a@" * 20_000, ":" * 50_000, "1 " * 50_000],
)
def test_hostile_texts_end_soon(text: str) -> None:
    MASKER.mask(text)
