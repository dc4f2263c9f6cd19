"""``inkstone serve start``: an endpoint on an embedded Ray, in the foreground."""

import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from serving.client import Endpoint

_USAGE = """\
{model} is served at {url}
API key: {key}

  curl {url}/chat/completions -H "Authorization: Bearer {key}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}", api_key="{key}")
  answer = client.chat.completions.create(
      model="{model}", messages=[{{"role": "user", "content": "Hello"}}]
  )

Ctrl-C stops it.
"""


def start_endpoint(
    model: str,
    *,
    host: str,
    port: int,
    api_key: str | None,
    name: str | None,
    slots: int,
    max_context: int | None,
    cache_tokens: int | None,
    int8_cache: bool,
    reproducible: bool,
    tensor_parallel: int,
    lora: list[str],
    engine: str,
    as_json: bool,
) -> None:
    """Serve until SIGINT or SIGTERM, then stop everything that was started.

    Raises:
        ConfigError: no such model, or the port is taken; before anything starts.
        ModelError: the model is damaged or unsupported.
    """
    from clusters.connect import ClusterConfig, connect
    from serving.app import CacheSettings, serve_model
    from serving.directory import check_model
    from serving.proxy import check_address
    from serving.resolve import resolve_model

    path = resolve_model(model)
    check_address(host, port, "made below" if api_key is None else api_key)
    check_model(path)
    adapters = _adapters(lora, name or _name_of(model))
    _check_engine(engine)
    if tensor_parallel > 1:
        from serving.load import model_config
        from serving.parallel.shard import check_cut

        check_cut(model_config(path)[0], tensor_parallel, path / "config.json")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with connect("embedded", ClusterConfig()):
            signal.signal(signal.SIGTERM, _interrupt)  # Ray has put its own handler there
            with serve_model(
                path,
                model_name=name or _name_of(model),
                host=host,
                port=port,
                api_key=api_key,
                slots=slots,
                max_context=max_context,
                cache=CacheSettings(cache_tokens, int8_cache, reproducible),
                tensor_parallel=tensor_parallel,
                adapters=adapters,
                engine=engine,
            ) as endpoint:
                _announce(endpoint, as_json)
                threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def _adapters(said: list[str], model_name: str) -> dict[str, Path]:
    """Folders by name, from ``NAME=DIR``; each is read once, so that a bad one is said now.

    Raises:
        ConfigError: no such form, a name twice, or no adapter there.
    """
    from clusters.config import ConfigError
    from serving.lora.files import AdapterError, read_adapter

    adapters: dict[str, Path] = {}
    for each in said:
        name, _, folder = each.partition("=")
        if not name or not folder:
            raise ConfigError(f"--lora {each!r}: give NAME=DIR")
        if name == model_name or name in adapters:
            raise ConfigError(f"--lora {each!r}: the name {name!r} is taken; choose another")
        adapters[name] = Path(folder).resolve()
        try:
            read_adapter(adapters[name])
        except AdapterError as error:
            raise ConfigError(f"--lora {each!r}: {error}") from error
    return adapters


def _check_engine(name: str) -> None:
    from clusters.config import ConfigError
    from serving.engines.choose import EngineUnavailable, check_engine

    try:
        check_engine(name)
    except EngineUnavailable as error:
        raise ConfigError(f"--engine: {error}") from error


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _name_of(model: str) -> str:
    """``demo-sft`` for ``runs/demo/sft``, else the folder's name."""
    path = Path(model)
    if path.is_symlink():
        return f"{path.parent.name}-{path.name}"
    return path.resolve().name


def _announce(endpoint: Endpoint, as_json: bool) -> None:
    said = {
        "base_url": endpoint.base_url,
        "api_key": endpoint.api_key,
        "model": endpoint.model_name,
    }
    if as_json:
        print(json.dumps(said), flush=True)
        return
    text = _USAGE.format(url=endpoint.base_url, key=endpoint.api_key, model=endpoint.model_name)
    print(text, end="", flush=True)
