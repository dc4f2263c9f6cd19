"""The real Serve app on the session's Ray, one for all tests here."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from clusters.config import ConfigError
from clusters.stage import StageError
from contracts.conversation import Message
from contracts.engine import EngineRequest, SamplingParams
from serving.app import serve_model
from serving.client import Client, Endpoint
from serving.directory import ModelError
from serving.load import load_engine
from serving.proxy import check_address
from serving.settings import EngineSettings
from serving.tokenizer import ChatTokenizer
from tests.processes import pids_of

HELLO = [Message(role="user", content="the lazy dog")]


@pytest.fixture(scope="module")
def endpoint(ray_session: None, model_dir: Path) -> Iterator[Endpoint]:
    engine = EngineSettings(slots=4, threads=2)
    with serve_model(
        model_dir, model_name="tiny", port=0, api_key="sk-1", engine=engine, num_cpus=0.1
    ) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def client(endpoint: Endpoint) -> Iterator[Client]:
    client = Client(endpoint)
    yield client
    client.close()


def running(endpoint: Endpoint) -> int:
    health = httpx.get(f"{endpoint.base_url.removesuffix('/v1')}/health").json()
    return health["running"] + health["waiting"]


def test_chat_gives_what_the_engine_gives(client: Client, model_dir: Path) -> None:
    answer = client.chat(HELLO, max_tokens=10, temperature=0.9, seed=4)
    tokenizer = ChatTokenizer.load(model_dir)
    assert answer.prompt_ids == tuple(tokenizer.render(HELLO))
    engine = load_engine(model_dir, slots=4, threads=2)
    sampling = SamplingParams(
        max_tokens=10, temperature=0.9, seed=4, stop_token_ids=tokenizer.stop_ids
    )

    async def ask() -> tuple[int, ...]:
        stream = engine.submit(EngineRequest("direct", answer.prompt_ids, sampling))
        return tuple([t async for c in stream for t in c.token_ids])

    assert asyncio.run(ask()) == answer.output_ids
    assert engine.model_digest == answer.model_digest
    engine.close()


def test_many_at_once_give_the_same_as_one_by_one(client: Client) -> None:
    def ask(seed: int) -> object:
        return client.chat(HELLO, max_tokens=20, temperature=1.0, seed=seed)

    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(ask, range(8)))
    assert crowd == [ask(seed) for seed in range(8)]


def test_official_client(endpoint: Endpoint) -> None:
    with OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key) as official:
        assert [m.id for m in official.models.list()] == ["tiny"]
        whole = official.completions.create(model="tiny", prompt="lazy", max_tokens=8, seed=2)
        parts = official.completions.create(
            model="tiny", prompt="lazy", max_tokens=8, seed=2, stream=True
        )
        assert "".join(p.choices[0].text for p in parts) == whole.choices[0].text


def test_streamed_chat(client: Client) -> None:
    text = "".join(client.stream(HELLO, max_tokens=12, temperature=0))
    answer = client.chat(HELLO, max_tokens=12)
    assert text == (answer.message.content or "")


def test_refusals(endpoint: Endpoint) -> None:
    wrong = Client(Endpoint(endpoint.base_url, "sk-2", "tiny"))
    with pytest.raises(openai.AuthenticationError):
        wrong.chat(HELLO)
    other = Client(Endpoint(endpoint.base_url, endpoint.api_key, "huge"))
    with pytest.raises(openai.NotFoundError):
        other.chat(HELLO)
    with pytest.raises(openai.BadRequestError, match="context"):
        Client(endpoint).chat(HELLO, max_tokens=9999)


@pytest.mark.parametrize("stream", [False, True])
def test_hanging_up_aborts(endpoint: Endpoint, stream: bool) -> None:
    body = {"model": "tiny", "prompt": [7], "max_tokens": 255, "n": 60, "stream": stream}
    headers = {"Authorization": f"Bearer {endpoint.api_key}"}
    url = f"{endpoint.base_url}/completions"
    started = time.monotonic()
    if stream:
        with httpx.stream("POST", url, headers=headers, json=body) as answer:
            next(answer.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, headers=headers, json=body, timeout=httpx.Timeout(120, read=0.5))
    while running(endpoint):
        assert time.monotonic() - started < 300
        time.sleep(0.05)


def test_a_killed_replica_comes_back(client: Client, endpoint: Endpoint) -> None:
    before = client.chat(HELLO, max_tokens=30, temperature=1.0, seed=1)
    pid = replica_pid()
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(
                client.chat(HELLO, max_tokens=200, temperature=1.0, seed=1)
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    while not running(endpoint):
        time.sleep(0.01)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join(500)
    assert len(answers) == 6
    assert replica_pid() != pid
    print("back after", round(time.monotonic() - killed, 1), "s")
    assert len({a.output_ids for a in answers}) == 1
    assert answers[0].output_ids[:30] == before.output_ids


def replica_pid() -> int:
    (pid,) = pids_of("ray::ServeReplica")
    return pid


def test_two_models_at_once(endpoint: Endpoint, bf16_dir: Path) -> None:
    with serve_model(bf16_dir, model_name="other", port=0, num_cpus=0.1) as second:
        assert second.base_url != endpoint.base_url
        assert len(second.api_key) >= 24
        ours, theirs = Client(endpoint).chat(HELLO), Client(second).chat(HELLO, max_tokens=4)
        assert ours.model_digest != theirs.model_digest
        assert len(Client(second).score("x", ["y"])) == 1
    assert Client(endpoint).chat(HELLO, max_tokens=2).output_ids


def test_port_taken_is_said_before_the_model_loads(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*--port"):
            check_address("127.0.0.1", port, "key")


def test_no_key_only_on_loopback() -> None:
    with pytest.raises(ConfigError, match="API key"):
        check_address("0.0.0.0", 0, "")
    check_address("127.0.0.1", 0, "")


def test_half_written_model_is_said_at_once(
    endpoint: Endpoint, model_dir: Path, tmp_path: Path
) -> None:
    for file in model_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with (
        pytest.raises(ModelError, match=r"model\.safetensors: damaged or half written"),
        serve_model(tmp_path, model_name="x", port=0),
    ):
        pass


def test_a_replica_that_cannot_start_is_one_line(
    endpoint: Endpoint, model_dir: Path, tmp_path: Path
) -> None:
    for file in model_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
    with (
        pytest.raises(StageError, match=r"did not start: .*ModelError: .*shape") as caught,
        serve_model(tmp_path, model_name="x", port=0, num_cpus=0.1),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert Client(endpoint).chat(HELLO, max_tokens=2).output_ids


def test_the_key_is_not_shown(endpoint: Endpoint) -> None:
    assert "sk-1" not in repr(endpoint)
