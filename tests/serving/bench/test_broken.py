"""Endpoints that break off, answer something else, or are not there."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clusters.config import ConfigError
from serving.bench.command import Load, bench_and_report, run_bench
from serving.bench.lengths import parse_lengths
from serving.settings import EngineSettings

MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "x"}]}
COUNTING = threading.Lock()
"""Streams are asked for at once, each in a thread."""
CHUNK = {"id": "1", "object": "text_completion", "created": 0, "model": "m"}


class Handler(BaseHTTPRequestHandler):
    """Answers the third stream, and each one after it, by half."""

    asked = 0
    chunked = True
    usage_each = False
    models: object = MODELS
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            return self.reply(json.dumps(self.models).encode())
        return self.reply(b"<html>what?</html>", "text/html")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not body.get("stream"):
            return self.reply(json.dumps({**CHUNK, "choices": []}).encode())
        with COUNTING:
            type(self).asked += 1
            whole = self.asked < 3
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        if self.chunked:
            self.send_header("transfer-encoding", "chunked")
        self.close_connection = not self.chunked
        self.end_headers()
        choice = {"index": 0, "text": "a", "finish_reason": None, "logprobs": None}
        usage = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
        for count in (2, 4, 6) if self.usage_each else ():
            so_far = {**usage, "completion_tokens": count}
            event = {**CHUNK, "choices": [choice], "usage": so_far}
            self.piece(f"data: {json.dumps(event)}\n\n".encode())
        if self.usage_each:
            return self.piece(b"data: [DONE]\n\n")
        self.piece(f"data: {json.dumps({**CHUNK, 'choices': [choice]})}\n\n".encode())
        if whole:
            said = json.dumps({**CHUNK, "choices": [], "usage": usage})
            self.piece(f"data: {said}\n\ndata: [DONE]\n\n".encode())
            self.piece(b"")
        else:
            self.close_connection = True
        return None

    def piece(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n" if self.chunked else data)

    def reply(self, data: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def handler() -> type[Handler]:
    return type("Own", (Handler,), {"asked": 0})


@pytest.fixture
def url(handler: type[Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


LOAD = Load(5, parse_lengths("--prompt-tokens", "4"), parse_lengths("--new-tokens", "1"))


def test_answers_that_break_off_are_counted_and_the_others_measured(url: str) -> None:
    result, _ = run_bench(url, LOAD, EngineSettings(), None)
    # The warm-up took one of the two whole answers.
    assert (result["summary"]["requests"], result["summary"]["failed"]) == (5, 4)
    assert result["summary"]["first_error"]


def test_an_answer_of_no_stated_length_that_breaks_off(url: str, handler: type[Handler]) -> None:
    handler.chunked = False
    load = Load(requests=4, prompts=parse_lengths("", "4"), new=parse_lengths("", "2"))
    result, _ = run_bench(url, load, EngineSettings(), None)
    assert (result["summary"]["failed"], result["summary"]["new_tokens"]) == (3, 1)
    assert "ended without finish_reason" in result["summary"]["first_error"]


def test_usage_with_every_event_is_counted_once(url: str, handler: type[Handler]) -> None:
    handler.chunked, handler.usage_each = False, True
    load = Load(requests=4, prompts=parse_lengths("", "4"), new=parse_lengths("", "6"))
    result, _ = run_bench(url, load, EngineSettings(), None)
    assert result["summary"]["new_tokens"] == 24


@pytest.mark.parametrize("models", [{"object": "list", "data": []}, {"hello": 1}, [1], "text"])
def test_what_is_no_endpoint_is_said(url: str, handler: type[Handler], models: object) -> None:
    handler.models = models
    with pytest.raises(ConfigError, match="is it an endpoint"):
        run_bench(url, LOAD, EngineSettings(), None)


def test_a_page_is_no_endpoint(url: str) -> None:
    with pytest.raises(ConfigError, match="is it an endpoint"):
        run_bench(f"{url}/elsewhere", LOAD, EngineSettings(), None)


def test_nobody_listens(url: str) -> None:
    with pytest.raises(ConfigError, match="is it an endpoint"):
        run_bench("http://127.0.0.1:9", LOAD, EngineSettings(), None)


def test_a_picture_of_no_format_is_said_first(tmp_path: Path) -> None:
    load = Load(requests=1, prompts=parse_lengths("", "4"), new=parse_lengths("", "2"))
    with pytest.raises(ConfigError, match=r"--plot .*a\.xyz: no such format; there are .*svg"):
        bench_and_report(
            "http://127.0.0.1:9",
            load,
            EngineSettings(),
            None,
            json_to=None,
            plot_to=tmp_path / "a.xyz",
        )
