"""HTTP apps on a real socket, without Ray, over any engine."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from openai import OpenAI

from contracts.engine import Engine
from contracts.manifest import hash_bytes
from serving.http.openai import build_app
from serving.http.service import Service
from serving.load import load_engine
from serving.tokenizer import ChatTokenizer

KEY = "sk-test"


@contextlib.contextmanager
def listening(service: Service) -> Iterator[str]:
    """Base URL of the service while the block runs."""
    config = uvicorn.Config(build_app(service), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def tokenizer(model_dir: Path) -> ChatTokenizer:
    return ChatTokenizer.load(model_dir)


@pytest.fixture(scope="session")
def engine(model_dir: Path) -> Iterator[Engine]:
    engine = load_engine(model_dir, slots=4)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def url(engine: Engine, tokenizer: ChatTokenizer) -> Iterator[str]:
    service = Service(engine, tokenizer, "tiny", key_hash=hash_bytes(KEY.encode()))
    with listening(service) as base:
        yield base


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def serve(tokenizer: ChatTokenizer) -> Iterator[Callable[..., OpenAI]]:
    """Serve any engine for one test: ``serve(engine, max_sequences=...)``."""
    with contextlib.ExitStack() as stack:

        def start(engine: Engine, **limits: int) -> OpenAI:
            service = Service(engine, tokenizer, "tiny", **limits)
            base = stack.enter_context(listening(service))
            return stack.enter_context(OpenAI(base_url=base, api_key="none", max_retries=0))

        yield start
