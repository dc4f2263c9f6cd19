import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from contracts.conversation import Message
from contracts.engine import (
    Engine,
    EngineError,
    EngineRequest,
    FinishReason,
    SamplingParams,
    TokenChunk,
)
from serving.client import Client, Endpoint
from serving.load import load_engine
from serving.testing import ScriptedEngine
from serving.tokenizer import ChatTokenizer
from tests.serving.http.conftest import KEY

HELLO = [{"role": "user", "content": "quick brown fox"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "1+2"}}</tool_call>'


def scripted(tokenizer: ChatTokenizer, text: str) -> ScriptedEngine:
    """Says ``text`` and the end-of-turn token, whatever it is asked."""
    ids = [*tokenizer.encode(text), *tokenizer.encode("<|im_end|>")]
    return ScriptedEngine(
        lambda prompt, request: ids,
        lambda context, continuation: [0.0] * len(continuation),
        vocab_size=tokenizer.vocab_size,
    )


def test_models(client: OpenAI, engine: Engine) -> None:
    (model,) = client.models.list()
    assert model.id == "tiny"
    assert model.root == engine.model_digest
    assert model.max_model_len == 256


def test_chat_is_what_the_engine_says(
    client: OpenAI, engine: Engine, tokenizer: ChatTokenizer
) -> None:
    reply = client.chat.completions.create(
        model="tiny",
        messages=HELLO,
        max_tokens=12,
        temperature=0,
        seed=5,
        logprobs=True,
        extra_body={"return_token_ids": True},
    )
    prompt = tokenizer.render([Message(**HELLO[0])])
    assert reply.prompt_token_ids == prompt
    sampling = SamplingParams(max_tokens=12, stop_token_ids=tokenizer.stop_ids)

    async def ask() -> list[tuple[int, float]]:
        stream = engine.submit(EngineRequest("direct", tuple(prompt), sampling))
        return [p async for c in stream for p in zip(c.token_ids, c.logprobs, strict=True)]

    pairs = asyncio.run(ask())
    (choice,) = reply.choices
    assert choice.token_ids == [token for token, _ in pairs]
    assert [e.logprob for e in choice.logprobs.content] == [logprob for _, logprob in pairs]
    assert reply.system_fingerprint == engine.model_digest
    assert reply.usage.prompt_tokens == len(prompt)
    assert reply.usage.completion_tokens == len(pairs)
    assert choice.policy_version == 0


@pytest.mark.parametrize("temperature", [0.0, 1.1])
def test_streamed_equals_whole(client: OpenAI, temperature: float) -> None:
    arguments = dict(
        model="tiny",
        messages=HELLO,
        max_tokens=40,
        temperature=temperature,
        seed=9,
        n=3,
        logprobs=True,
        extra_body={"return_token_ids": True},
    )
    whole = client.chat.completions.create(**arguments)
    texts, ids, logprobs, finish = {}, {}, {}, {}
    usage = None
    for event in client.chat.completions.create(
        **arguments, stream=True, stream_options={"include_usage": True}
    ):
        usage = event.usage or usage
        for choice in event.choices:
            i = choice.index
            texts[i] = texts.get(i, "") + (choice.delta.content or "")
            ids[i] = ids.get(i, []) + choice.token_ids
            logprobs[i] = logprobs.get(i, []) + [e.logprob for e in choice.logprobs.content]
            finish[i] = choice.finish_reason or finish.get(i)
    for choice in whole.choices:
        assert texts[choice.index] == (choice.message.content or "")
        assert ids[choice.index] == choice.token_ids
        assert logprobs[choice.index] == [e.logprob for e in choice.logprobs.content]
        assert finish[choice.index] == choice.finish_reason
    assert usage == whole.usage
    assert len({tuple(v) for v in ids.values()}) == (1 if temperature == 0 else 3)


def test_completions(client: OpenAI, tokenizer: ChatTokenizer) -> None:
    arguments = dict(
        model="tiny",
        max_tokens=9,
        temperature=0.8,
        seed=3,
        logprobs=1,
        extra_body={"return_token_ids": True},
    )
    text = "lazy dog"
    whole = client.completions.create(prompt=[text, text], **arguments)
    as_ids = client.completions.create(prompt=tokenizer.encode(text), **arguments)
    first, second = whole.choices
    assert first.token_ids == second.token_ids == as_ids.choices[0].token_ids
    assert first.prompt_token_ids == tokenizer.encode(text)
    assert first.text == tokenizer.decode(first.token_ids)
    assert len(first.logprobs.token_logprobs) == 9
    streamed = list(client.completions.create(prompt=text, stream=True, **arguments))
    assert "".join(c.choices[0].text for c in streamed) == first.text
    offsets = [o for c in streamed for o in c.choices[0].logprobs.text_offset]
    assert offsets == first.logprobs.text_offset


def test_streamed_offsets_count_as_those_of_the_whole(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    """Where a character is made of several tokens, too."""
    client = serve(scripted(tokenizer, "日本 fox é 😀."))
    asked = dict(model="tiny", prompt="a", max_tokens=60, logprobs=0, n=2)
    whole = client.completions.create(**asked)
    offsets: list[list[int]] = [[], []]
    for event in client.completions.create(**asked, stream=True):
        (choice,) = event.choices
        offsets[choice.index] += choice.logprobs.text_offset
    assert offsets == [choice.logprobs.text_offset for choice in whole.choices]


def test_an_event_is_one_line_to_every_client(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    text = "a\u2028b\u2029c\x85d"
    base = serve(scripted(tokenizer, text)).base_url
    body = {"model": "tiny", "prompt": "a", "max_tokens": 60, "stream": True}
    with httpx.stream("POST", f"{base}completions", json=body) as reply:
        lines = [line for line in reply.iter_lines() if line]
    assert lines.pop() == "data: [DONE]"
    said = [json.loads(line.removeprefix("data: "))["choices"][0]["text"] for line in lines]
    assert "".join(said) == text


def test_stop_strings(serve: Callable[..., OpenAI], tokenizer: ChatTokenizer) -> None:
    client = serve(scripted(tokenizer, "one two STOP three"))
    for stop in ("STOP", ["nowhere", "o ST"]):
        reply = client.chat.completions.create(model="tiny", messages=HELLO, stop=stop)
        wanted = "one two " if stop == "STOP" else "one tw"
        assert reply.choices[0].message.content == wanted
        assert reply.choices[0].finish_reason == "stop"
        events = client.chat.completions.create(
            model="tiny", messages=HELLO, stop=stop, stream=True
        )
        assert "".join(e.choices[0].delta.content or "" for e in events) == wanted


def test_tool_calls(serve: Callable[..., OpenAI], tokenizer: ChatTokenizer) -> None:
    client = serve(scripted(tokenizer, f"let me see {CALL}"))
    reply = client.chat.completions.create(model="tiny", messages=HELLO)
    (choice,) = reply.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "let me see "
    assert call.function.name == "calculator"
    assert json.loads(call.function.arguments) == {"expression": "1+2"}
    content, calls, finish = "", [], None
    for event in client.chat.completions.create(model="tiny", messages=HELLO, stream=True):
        delta = event.choices[0].delta
        content += delta.content or ""
        calls += delta.tool_calls or []
        finish = event.choices[0].finish_reason or finish
    assert (content, finish) == ("let me see ", "tool_calls")
    assert [(c.index, c.id, c.function.arguments) for c in calls] == [
        (0, call.id, call.function.arguments)
    ]


def test_malformed_tool_call_is_text(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    broken = '<tool_call>{"name": calculator}</tool_call> and <tool_call>{"name"'
    client = serve(scripted(tokenizer, broken))
    choice = client.chat.completions.create(model="tiny", messages=HELLO).choices[0]
    assert choice.message.content == broken
    assert choice.message.tool_calls is None
    events = client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert "".join(e.choices[0].delta.content or "" for e in events) == broken


def test_tools_reach_the_prompt(client: OpenAI) -> None:
    tool = {
        "type": "function",
        "function": {"name": "adder", "description": "Adds.", "parameters": {"properties": {}}},
    }
    sizes = [
        client.chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=1, **extra
        ).usage.prompt_tokens
        for extra in ({}, {"tools": [tool]}, {"tools": [tool], "tool_choice": "none"})
    ]
    assert sizes[1] > sizes[0] == sizes[2]


def test_wrong_key(url: str) -> None:
    for key in ("sk-wrong", "naïve", "x" * 5000):
        answer = httpx.get(f"{url}/models", headers={"Authorization": f"Bearer {key}".encode()})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    for route in ("models", "stats"):
        assert httpx.get(f"{url}/{route}").status_code == 401
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=url, api_key="no", max_retries=0).models.list()
    assert httpx.get(f"{url.removesuffix('/v1')}/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1000}, "context"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, "context"),
        ({"messages": [*HELLO, {"role": "system", "content": "x"}]}, "system"),
        ({"n": 0}, "n"),
        ({"top_logprobs": 3}, "top_logprobs needs logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"logit_bias": {"100000": 1}}, "logit_bias.*outside the vocabulary"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"extra_body": {"min_p": 2}}, "min_p"),
        ({"extra_body": {"structured_outputs": {}}}, "exactly one of json, regex and choice"),
        ({"extra_body": {"structured_outputs": {"regex": "(a"}}}, "guide: no usable regex"),
        ({"extra_body": {"structured_outputs": {"json": {"type": 7}}}}, "no usable json_schema"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, r"messages\.0.*'image_url'"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "content part"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "text part"),
        ({"extra_body": {"nonsense": 1}}, "nonsense"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_parameters(client: OpenAI, change: dict, says: str, stream: bool) -> None:
    arguments = {"model": "tiny", "messages": HELLO, "stream": stream, **change}
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        client.chat.completions.create(**arguments)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [False, True])
def test_no_prompt_at_all_is_refused(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="must not be empty"):
        client.completions.create(model="tiny", prompt=[], stream=stream)


def test_what_the_template_refuses_names_no_path(client: OpenAI) -> None:
    messages = [*HELLO, {"role": "system", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="chat template refused") as caught:
        client.chat.completions.create(model="tiny", messages=messages)
    assert "/" not in caught.value.body["message"].split("refused")[0]


def test_penalties_of_nothing_are_taken(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny",
        messages=HELLO,
        max_tokens=1,
        logprobs=True,
        extra_body={"frequency_penalty": 0.0, "presence_penalty": 0, "top_logprobs": 0},
    )
    assert reply.choices


def test_top_logprobs(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    )
    for entry in reply.choices[0].logprobs.content:
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].token == entry.token
        assert entry.top_logprobs[0].logprob == entry.logprob
        assert entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob
    plain = client.completions.create(model="tiny", prompt="fox", max_tokens=4, logprobs=5)
    assert all(1 <= len(top) <= 5 for top in plain.choices[0].logprobs.top_logprobs)


def test_bias_and_penalties_change_the_answer(client: OpenAI, tokenizer: ChatTokenizer) -> None:
    (fox,) = {tokenizer.encode("x")[0]}

    def ask(**changes: object) -> list[int]:
        reply = client.chat.completions.create(
            model="tiny",
            messages=HELLO,
            max_tokens=12,
            temperature=0,
            **{"extra_body": {"return_token_ids": True}, **changes},
        )
        return reply.choices[0].token_ids

    assert ask(logit_bias={str(fox): 100}) == [fox] * 12
    once = ask(logit_bias={str(fox): 100}, frequency_penalty=2, presence_penalty=2)
    assert once[0] == fox
    banned = ask(logit_bias={str(ask()[0]): -100})
    assert banned[0] != ask()[0]
    strict = {"return_token_ids": True, "repetition_penalty": 10.0, "min_p": 0.1}
    assert len(set(ask(extra_body=strict))) > 6


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["ox", "fox"]}, "legs": {"enum": [2, 4, 8]}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("stream", [False, True])
def test_guided_answers(client: OpenAI, stream: bool) -> None:
    def ask(**how: object) -> str:
        asked = dict(model="tiny", messages=HELLO, max_tokens=100, temperature=1, stream=stream)
        reply = client.chat.completions.create(**asked, **how)
        if not stream:
            return reply.choices[0].message.content
        return "".join(chunk.choices[0].delta.content or "" for chunk in reply)

    named = {"name": "animal", "schema": SCHEMA, "strict": True}
    animal = json.loads(ask(response_format={"type": "json_schema", "json_schema": named}))
    assert animal["name"] in ("ox", "fox")
    assert animal["legs"] in (2, 4, 8)
    choice = {"structured_outputs": {"choice": ["river bank", "日本"]}}
    assert ask(extra_body=choice) in ("river bank", "日本")
    assert re.fullmatch(
        r"[0-9]{3}-[a-c]+!",
        ask(extra_body={"structured_outputs": {"regex": r"[0-9]{3}-[a-c]{1,9}!"}}),
    )
    assert ask(response_format={"type": "text"}) is not None


def test_an_engine_without_guides_says_so(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    client = serve(scripted(tokenizer, "fox"))
    with pytest.raises(openai.BadRequestError, match="no guide"):
        client.chat.completions.create(
            model="tiny", messages=HELLO, response_format={"type": "json_object"}
        )
    with pytest.raises(openai.BadRequestError, match="no top_logprobs"):
        client.completions.create(model="tiny", prompt="fox", logprobs=2)


def test_messages_as_clients_send_them(client: OpenAI, tokenizer: ChatTokenizer) -> None:
    parts = [{"type": "text", "text": "quick "}, {"type": "text", "text": "fox"}]
    earlier = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=2, seed=1)
    reply = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
            {"role": "user", "content": parts},
            earlier.choices[0].message,
            *HELLO,
        ],
        max_tokens=1,
        extra_body={"return_token_ids": True},
    )
    plain = [
        Message(role="system", content="be brief"),
        Message(role="user", content="quick fox"),
        Message(role="assistant", content=earlier.choices[0].message.content),
        Message(**HELLO[0]),
    ]
    assert reply.prompt_token_ids == tokenizer.render(plain)


HALF = "\ud800"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": HALF}]}),
        ("chat/completions", {"messages": HELLO, "tools": [{HALF: HALF}]}),
        ("chat/completions", {"messages": HELLO, HALF: 1}),
        ("completions", {"prompt": HALF}),
        ("../score", {"context": HALF, "continuations": ["x"]}),
    ],
)
def test_half_a_surrogate_pair_is_no_text(url: str, route: str, body: dict) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    content = json.dumps({"model": "tiny", **body})
    answer = httpx.post(f"{url}/{route}", headers=headers, content=content)
    assert answer.status_code == 400
    assert "surrogate" in answer.json()["error"]["message"]


def test_a_call_that_no_encoding_spells_stays_text(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    written = '<tool_call>{"name": "f\\ud800", "arguments": {}}</tool_call>'
    client = serve(scripted(tokenizer, written))
    reply = client.chat.completions.create(model="tiny", messages=HELLO)
    assert reply.choices[0].message.content == written
    events = client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert "".join(e.choices[0].delta.content or "" for e in events) == written


def test_bad_body_and_unknown_route(url: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{url}/chat/completions", headers=headers, content=b"{broken")
    assert answer.status_code == 400
    assert "error" in answer.json()
    assert httpx.get(f"{url}/nothing", headers=headers).json()["error"]["type"]
    for depth in (400, 900, 100_000):
        deep = f'{{"model": "tiny", "messages": [], "tools": [{"[" * depth}{"]" * depth}]}}'
        json_type = {**headers, "Content-Type": "application/json"}
        answer = httpx.post(f"{url}/chat/completions", headers=json_type, content=deep)
        assert answer.status_code == 400
        assert "error" in answer.json()
    bad_ids = {"model": "tiny", "prompt": [10**6]}
    answer = httpx.post(f"{url}/completions", headers=headers, json=bad_ids)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_token"


def test_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.chat.completions.create(model="huge", messages=HELLO)


def test_queue_full(serve: Callable[..., OpenAI], engine: Engine) -> None:
    client = serve(engine, max_sequences=2)
    with pytest.raises(openai.RateLimitError, match="try again"):
        client.chat.completions.create(model="tiny", messages=HELLO, n=3, max_tokens=2)
    reply = client.chat.completions.create(model="tiny", messages=HELLO, n=2, max_tokens=2)
    assert len(reply.choices) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_aborts(url: str, engine: Engine, stream: bool) -> None:
    body = {"model": "tiny", "prompt": [7], "max_tokens": 255, "n": 40, "stream": stream, "seed": 1}
    headers = {"Authorization": f"Bearer {KEY}"}
    before = engine.stats().tokens_generated
    if stream:
        with httpx.stream("POST", f"{url}/completions", headers=headers, json=body) as answer:
            next(answer.iter_lines())
    else:
        impatient = httpx.Timeout(120, read=0.2)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/completions", headers=headers, json=body, timeout=impatient)
    wait_until(lambda: engine.stats().running + engine.stats().waiting == 0)
    assert engine.stats().tokens_generated - before < 40 * 255 / 2


def wait_until(done: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_engine_failure_is_not_retried(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    asked = []

    def fail(prompt: object, request: object) -> list[int]:
        asked.append(1)
        raise EngineError("out of ideas")

    engine = ScriptedEngine(fail, lambda c, x: [], vocab_size=tokenizer.vocab_size)
    client = serve(engine).with_options(max_retries=3)
    with pytest.raises(openai.InternalServerError, match="out of ideas"):
        client.chat.completions.create(model="tiny", messages=HELLO)
    assert len(asked) == 1


class Closing(ScriptedEngine):
    """Is closed under its first ``cut`` requests, after ``spoken`` tokens of each."""

    cut = 1
    spoken = 2

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        cut, self.cut = self.cut > 0, self.cut - 1
        spoken = 0
        async for chunk in super().submit(request):
            if cut and spoken == self.spoken:
                yield TokenChunk(request.id, (), (), 0, FinishReason.ABORT)
                return
            spoken += 1
            yield chunk


def closing(tokenizer: ChatTokenizer) -> Closing:
    ids = [*tokenizer.encode("the whole answer"), *tokenizer.encode("<|im_end|>")]
    return Closing(lambda p, r: ids, lambda c, x: [], vocab_size=tokenizer.vocab_size)


def test_an_answer_cut_by_a_closing_engine_is_no_answer(
    serve: Callable[..., OpenAI], tokenizer: ChatTokenizer
) -> None:
    once = serve(closing(tokenizer))
    with pytest.raises(openai.InternalServerError, match="ask again") as caught:
        once.chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.status_code == 503
    assert caught.value.body["code"] == "interrupted"
    assert caught.value.response.headers["x-should-retry"] == "true"
    with pytest.raises(openai.InternalServerError, match="ask again"):
        serve(closing(tokenizer)).completions.create(model="tiny", prompt="x")
    streamed = serve(closing(tokenizer)).chat.completions.create(
        model="tiny", messages=HELLO, stream=True
    )
    with pytest.raises(openai.APIError, match="ask again"):
        list(streamed)
    patient = Client(Endpoint(str(serve(closing(tokenizer)).base_url), "none", "tiny"))
    assert patient.chat([Message(**HELLO[0])]).message.content == "the whole answer"
    patient.close()


def test_a_closed_engine_is_retryable(
    serve: Callable[..., OpenAI], model_dir: Path, tokenizer: ChatTokenizer
) -> None:
    for engine in (load_engine(model_dir, slots=1), scripted(tokenizer, "x")):
        client = serve(engine)
        engine.close()
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError, match="closed") as caught:
                client.chat.completions.create(
                    model="tiny", messages=HELLO, max_tokens=2, stream=stream
                )
            assert caught.value.status_code == 503
            assert caught.value.response.headers["x-should-retry"] == "true"


def test_closing_under_requests_answers_503(serve: Callable[..., OpenAI], model_dir: Path) -> None:
    engine = load_engine(model_dir, slots=1)
    client = serve(engine)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            client.completions.create, model="tiny", prompt=[7], max_tokens=255, n=50
        )
        wait_until(lambda: engine.stats().tokens_generated > 5)
        engine.close()
        with pytest.raises(openai.InternalServerError, match="ask again"):
            asked.result(300)


def test_score_route_and_client(url: str, engine: Engine, tokenizer: ChatTokenizer) -> None:
    client = Client(Endpoint(url, KEY, "tiny"))
    texts = ["lazy", "dog", "日本"]
    got = client.score("the quick", texts)
    want = asyncio.run(
        engine.score(tokenizer.encode("the quick"), [tokenizer.encode(t) for t in texts])
    )
    assert got == want
    alone = asyncio.run(engine.score([5], [[7, 8]]))[0]
    assert client.score([5], [[6], [7, 8]])[1].logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    client.close()
