"""Adapters over HTTP: named as models, loaded and dropped by key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from serving.client import Client, Endpoint
from serving.load import load_engine
from tests.serving.http.conftest import KEY
from tests.serving.lora.conftest import make_adapter


@pytest.fixture
def adapted(model_dir: Path, serve: Callable[..., OpenAI], tmp_path: Path) -> Any:
    path = make_adapter(model_dir, tmp_path / "a")
    engine = load_engine(model_dir, slots=2, adapters={"first": path})
    yield serve(engine), path
    engine.close()


def said(client: OpenAI, model: str) -> Any:
    return client.completions.create(
        model=model, prompt=[5, 6, 7], max_tokens=6, temperature=0, logprobs=1
    )


def post(client: OpenAI, route: str, **body: Any) -> Any:
    return client.post(f"/{route}", body=body, cast_to=object)


def test_adapters_are_models(adapted: Any, tmp_path: Path) -> None:
    client, path = adapted
    listed = {model.id: model for model in client.models.list()}
    assert list(listed) == ["tiny", "first"]
    assert listed["first"].parent == "tiny"
    base, first = said(client, "tiny"), said(client, "first")
    assert first.model == "first"
    assert first.system_fingerprint != base.system_fingerprint
    assert first.system_fingerprint == listed["first"].root
    assert first.choices[0].logprobs.token_logprobs != base.choices[0].logprobs.token_logprobs
    post(client, "load_lora_adapter", lora_name="second", lora_path=str(path))
    assert said(client, "second").choices[0].logprobs == first.choices[0].logprobs
    with pytest.raises(openai.ConflictError, match="taken"):
        post(client, "load_lora_adapter", lora_name="tiny", lora_path=str(path))
    with pytest.raises(openai.BadRequestError, match=r"adapter_config\.json: missing"):
        post(client, "load_lora_adapter", lora_name="third", lora_path=str(tmp_path))
    post(client, "unload_lora_adapter", lora_name="second")
    with pytest.raises(openai.NotFoundError, match="serves 'tiny', 'first'"):
        said(client, "second")
    with pytest.raises(openai.NotFoundError):
        post(client, "unload_lora_adapter", lora_name="second")


def test_scores_with_an_adapter(adapted: Any) -> None:
    client, _ = adapted
    totals = []
    for name in ("tiny", "first"):
        endpoint = Endpoint(str(client.base_url).rstrip("/"), "none", name)
        totals.append(Client(endpoint).score([5, 6], [[7, 8]])[0].total)
    assert abs(totals[0] - totals[1]) > 1e-3


def test_an_adapter_in_use_is_not_dropped(adapted: Any) -> None:
    client, _ = adapted
    stream = client.completions.create(
        model="first", prompt=[5], max_tokens=250, temperature=0, stream=True
    )
    next(stream)
    with pytest.raises(openai.ConflictError, match="used by 1 requests"):
        post(client, "unload_lora_adapter", lora_name="first")
    stream.close()


def test_loading_needs_the_key(url: str, tmp_path: Path) -> None:
    body = {"lora_name": "x", "lora_path": str(tmp_path)}
    assert httpx.post(f"{url}/load_lora_adapter", json=body).status_code == 401
    headers = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{url}/load_lora_adapter", json=body, headers=headers)
    assert answer.status_code == 400
