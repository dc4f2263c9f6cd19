"""Policies and verbs against a real HTTP endpoint whose engine knows how to add."""

import json
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence

import openai
import pytest
import uvicorn
from typer.testing import CliRunner

from agents.cli import app
from agents.endpoint import EndpointPolicy, OpenAIPolicy
from agents.environments.arithmetic import AnswerGrader, is_correct_call, problems
from agents.policy import PolicyRefused
from agents.protocols.react import react
from agents.protocols.step import Status
from agents.tools.registry import TOOLS
from clusters.artifact import Artifact
from clusters.config import ConfigError
from contracts.conversation import Message
from contracts.engine import EngineRequest
from contracts.manifest import hash_bytes
from serving.client import Endpoint
from serving.http.openai import build_app
from serving.http.service import Service
from serving.testing import ScriptedEngine
from serving.tokenizer import ChatTokenizer

KEY = "a key for this test only"
CONTEXT = 600


def written(text: str) -> str:
    """What the scripted model writes after a rendered conversation."""
    last = text.rsplit("<|im_start|>", 2)[1]
    if last.startswith("tool\n"):
        result = last.removeprefix("tool\n").split("<|im_end|>")[0]
        return f"The answer is {result}.<|im_end|>"
    operands = re.findall(r"\d+", last)
    arguments = json.dumps({"expression": " + ".join(operands)})
    return f'<tool_call>{{"name": "calculator", "arguments": {arguments}}}</tool_call><|im_end|>'


@pytest.fixture(scope="module")
def endpoint(checkpoint: Artifact) -> Iterator[Endpoint]:
    tokenizer = ChatTokenizer.load(checkpoint.path("model"))

    def generate(prompt: Sequence[int], request: EngineRequest) -> Sequence[int]:
        return tokenizer.encode(written(tokenizer.decode(prompt)))

    engine = ScriptedEngine(
        generate, lambda *_: [], vocab_size=tokenizer.vocab_size, max_context=CONTEXT
    )
    service = Service(engine, tokenizer, "expert", key_hash=hash_bytes(KEY.encode()))
    server = uvicorn.Server(
        uvicorn.Config(build_app(service), host="127.0.0.1", port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Endpoint(f"http://127.0.0.1:{port}/v1", KEY, "expert")
    server.should_exit = True
    thread.join()


def test_an_expert_behind_http_solves_every_sum(endpoint: Endpoint) -> None:
    policy = EndpointPolicy(endpoint, max_tokens=200)
    for problem in problems("validation", 12, random.randrange(1 << 30)):
        question = [Message(role="user", content=problem.question)]
        first, second = react(question, policy, TOOLS)
        assert is_correct_call(problem, first.call.name, first.call.arguments)
        assert AnswerGrader(problem)(list(second.after)) == 1.0
        for step in (first, second):
            reply = step.reply
            assert reply.prompt_ids
            assert len(reply.output_ids) == len(reply.logprobs) > 0
        # the policy saw the very tokens of its first turn again
        size = len(first.reply.prompt_ids) + len(first.reply.output_ids)
        seen = first.reply.prompt_ids + first.reply.output_ids
        assert second.reply.prompt_ids[:size] == seen


def test_replies_without_token_ids_play_the_same(endpoint: Endpoint) -> None:
    (problem,) = problems("validation", 1, 3)
    question = [Message(role="user", content=problem.question)]
    plain = list(react(question, OpenAIPolicy(endpoint, 200), TOOLS))
    ours = list(react(question, EndpointPolicy(endpoint, 200), TOOLS))
    assert [step.after for step in plain] == [step.after for step in ours]
    assert plain[0].reply.output_ids == []


def test_a_prompt_that_does_not_fit_is_a_refusal(endpoint: Endpoint) -> None:
    policy = EndpointPolicy(endpoint, max_tokens=200)
    question = [Message(role="user", content="1 + " * CONTEXT)]
    (step,) = react(question, policy, TOOLS)
    assert step.status is Status.ERROR
    assert step.error == "the endpoint refused the request: context_length_exceeded"
    with pytest.raises(PolicyRefused, match=str(CONTEXT)):
        OpenAIPolicy(endpoint, 200)(question, [], 0)


def test_a_wrong_key_is_no_refusal(endpoint: Endpoint) -> None:
    wrong = Endpoint(endpoint.base_url, "wrong", "expert")
    question = [Message(role="user", content="1 + 1")]
    with pytest.raises(openai.AuthenticationError):
        EndpointPolicy(wrong, 10)(question, [], 0)
    with pytest.raises(ConfigError, match="API key"):
        OpenAIPolicy(wrong, 10)(question, [], 0)


def run_verb(endpoint: Endpoint, *more: str) -> str:
    words = ["run", "What is 37 + 5?", "--endpoint", endpoint.base_url, "--model", "expert"]
    done = CliRunner(env={"INKSTONE_API_KEY": endpoint.api_key}).invoke(app, [*words, *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_run_prints_the_steps(endpoint: Endpoint) -> None:
    shown = run_verb(endpoint)
    assert 'calls:  calculator {"expression": "37 + 5"}' in shown
    assert "result: 42" in shown
    assert "says:   The answer is 42." in shown


def test_run_as_json(endpoint: Endpoint) -> None:
    rows = json.loads(run_verb(endpoint, "--json"))
    assert [row["status"] for row in rows] == ["tool_call", "final"]
    assert rows[1]["reward"] is None


def test_run_says_where_nobody_answers() -> None:
    nobody = Endpoint("http://127.0.0.1:9/v1", "none", "expert")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"):
        OpenAIPolicy(nobody, 10)([Message(role="user", content="1 + 1")], [], 0)
