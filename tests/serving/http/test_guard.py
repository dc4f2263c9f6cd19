"""The key and the size come before the body."""

import asyncio
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from serving.http.guard import MAX_BODY, Guard
from tests.serving.http.conftest import KEY


@pytest.mark.parametrize(
    ("key", "length", "status"), [("no", MAX_BODY, "401"), (KEY, MAX_BODY + 1, "413")]
)
def test_nobody_waits_for_a_body_that_is_refused(
    url: str, key: str, length: int, status: str
) -> None:
    place = urlsplit(url)
    assert place.hostname
    assert place.port
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(head.encode())  # and nothing more
        assert connection.recv(64).startswith(f"HTTP/1.1 {status}".encode())


def test_what_is_wrong_with_a_body_is_told_to_holders_of_the_key_only(url: str) -> None:
    said = httpx.post(f"{url}/completions", content=b"{", headers={"authorization": "Bearer no"})
    assert said.status_code == 401
    said = httpx.post(
        f"{url}/completions", content=b"{", headers={"authorization": f"Bearer {KEY}"}
    )
    assert said.status_code == 400


def run(guard: Guard, pieces: list[bytes], headers: dict[str, str], **more: Any) -> list[Any]:
    """What an app behind a guard is sent, or the guard answers."""
    sent: list[Any] = []
    waiting = iter(pieces)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": next(waiting), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/score", "headers": encoded, **more}
    asyncio.run(guard(scope, receive, send))
    return sent


class Open:
    """A service that needs no key."""

    key_hash = None


async def reads(scope: Any, receive: Any, send: Any) -> None:
    while True:
        await send((await receive())["body"])


def test_a_body_without_a_length_ends_at_the_limit() -> None:
    from starlette.exceptions import HTTPException

    guard = Guard(reads, Open(), max_body=10)  # type: ignore[arg-type]
    with pytest.raises(HTTPException, match="larger than the 10 bytes") as error:
        run(guard, [b"four"] * 3, {"transfer-encoding": "chunked"})
    assert error.value.status_code == 413


@pytest.mark.parametrize("length", ["11", "-1", "many", "9" * 30])
def test_a_length_that_will_not_do_is_refused(length: str) -> None:
    guard = Guard(reads, Open(), max_body=10)  # type: ignore[arg-type]
    start, body = run(guard, [], {"content-length": length})
    assert start["status"] == 413
    assert "error" in json.loads(body["body"])


def test_health_needs_no_key_behind_a_prefix_either(url: str) -> None:
    class Closed:
        key_hash = "0" * 64

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send("passed")

    guard = Guard(app, Closed())  # type: ignore[arg-type]
    for path, root in (("/health", ""), ("/demo/health", "/demo")):
        assert run(guard, [], {}, path=path, root_path=root) == ["passed"]
    assert run(guard, [], {}, path="/demo/score", root_path="/demo")[0]["status"] == 401


def test_null_is_what_is_not_given(url: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    asked = {"model": "tiny", "prompt": "a", "max_tokens": 3, "seed": 1}
    nulls = dict.fromkeys(("temperature", "top_p", "n", "stream", "stop", "logprobs", "user"))
    texts = []
    for body in (asked, {**asked, **nulls}):
        answer = httpx.post(f"{url}/completions", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        texts.append(answer.json()["choices"][0]["text"])
    assert texts[0] == texts[1]
    answer = httpx.post(f"{url}/completions", json={**asked, "prompt": None}, headers=headers)
    assert answer.status_code == 400
