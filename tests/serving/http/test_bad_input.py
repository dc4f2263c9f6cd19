"""What cannot be answered, through the endpoint: an error of its kind, and the engine goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from openai import OpenAI
from safetensors.torch import load_file, save_file

from serving.http.service import Service
from serving.load import load_engine
from serving.tokenizer import ChatTokenizer
from tests.serving.conftest import make_model
from tests.serving.http.conftest import listening

POISONED = 13


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """An endpoint over weights in which one row of the embedding is not a number."""
    path = make_model(tmp_path_factory.mktemp("poisoned"), tie_word_embeddings=False)
    weights = load_file(path / "model.safetensors")
    weights["model.embed_tokens.weight"][POISONED] = torch.nan
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    engine = load_engine(path, slots=4, cache_tokens=256)
    try:
        service = Service(engine, ChatTokenizer.load(path), "tiny")
        with (
            listening(service) as base,
            OpenAI(base_url=base, api_key="none", max_retries=0) as client,
        ):
            yield client
    finally:
        engine.close()


def ask(client: OpenAI, prompt: list[int], stream: bool = False, **changes: Any) -> list[int]:
    """Token ids of an answer of four tokens, none of which is the poisoned one."""
    asked: dict[str, Any] = dict(
        model="tiny",
        prompt=prompt,
        max_tokens=4,
        temperature=0,
        logit_bias={str(POISONED): -100},
        extra_body={"return_token_ids": True},
    )
    made: Any = client.completions.create(**{**asked, **changes}, stream=stream)
    if not stream:
        return made.choices[0].token_ids
    return [token for event in made for token in event.choices[0].token_ids]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompt": [5] * 257}, "context_length_exceeded"),
        ({"prompt": [5] * 253}, "context_length_exceeded"),
        ({"prompt": [[]]}, "invalid_token"),
        ({"prompt": ""}, "invalid_token"),
        ({"prompt": [5, 10**6]}, "invalid_token"),
        ({"prompt": [5, -1]}, "invalid_token"),
    ],
)
def test_prompts_that_cannot_run(
    poisoned: OpenAI, change: dict[str, Any], code: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(poisoned, stream=stream, **change)
    assert caught.value.code == code
    assert len(ask(poisoned, [5, 6])) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_logits_that_are_not_numbers(poisoned: OpenAI, stream: bool) -> None:
    expected = ask(poisoned, [5, 12, 6])
    failure = openai.APIError if stream else openai.InternalServerError
    for _ in range(2):
        with pytest.raises(failure, match="not finite"):
            ask(poisoned, [5, POISONED, 6], stream)
        assert ask(poisoned, [5, 12, 6], stream) == expected
    stats: Any = poisoned.get("/stats", cast_to=object)
    assert (stats["running"], stats["waiting"], stats["blocks_used"]) == (0, 0, 0)


LIMITED = """
import resource, sys, threading
from serving.http.service import Service
from serving.load import load_engine
from serving.tokenizer import ChatTokenizer
from tests.serving.http.conftest import listening

path = sys.argv[1]
engine = load_engine(path, slots=1, max_context=60_000, threads=1, reproducible=False)
with listening(Service(engine, ChatTokenizer.load(path), "tiny")) as url:
    print(url, flush=True)
    for line in sys.stdin:
        size = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmSize"))
        room = int(line) << 20
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + room, most))
        print("limited", flush=True)
engine.close()
"""


def test_memory_that_is_not_there(tmp_path: Path) -> None:
    """A prompt whose step asks the system for more than it gives ends; the next is answered."""
    path = make_model(tmp_path / "model", max_position_embeddings=60_000)
    config = json.loads((path / "config.json").read_text())
    assert config["max_position_embeddings"] == 60_000
    process = subprocess.Popen(
        [sys.executable, "-c", LIMITED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        with OpenAI(base_url=url, api_key="none", max_retries=0, timeout=500) as client:
            bias = {"logit_bias": {}}
            expected = ask(client, [5, 6, 7], **bias)
            process.stdin.write("24\n")
            process.stdin.flush()
            assert process.stdout.readline() == "limited\n"
            with pytest.raises(openai.InternalServerError, match=r"alloc|[Mm]emory"):
                ask(client, [9] * 59_000, **bias)
            assert ask(client, [5, 6, 7], **bias) == expected
    finally:
        process.stdin.close()
        process.wait(300)
