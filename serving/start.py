"""``inkstone serve start``: an endpoint on an embedded Ray, in the foreground."""

import json
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType

from serving.client import Endpoint
from serving.settings import EngineSettings

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
    settings: EngineSettings,
    *,
    host: str,
    port: int,
    api_key: str | None,
    name: str | None,
    lora: list[str],
    as_json: bool,
) -> None:
    """Serve until SIGINT or SIGTERM, then stop everything that was started.

    Args:
        model: what users name it by; see ``resolve_model``.
        settings: how it is run, but for the adapters.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        api_key: what clients must send; None makes one.
        name: the name clients ask for; None takes the folder's.
        lora: adapters as ``NAME=DIR``.
        as_json: print the endpoint as JSON.

    Raises:
        ConfigError: no such model, adapter or engine, or the port is taken; before anything
            starts.
        ModelError: the model is damaged or unsupported.
    """
    from clusters.connect import ClusterConfig, connect
    from serving.app import serve_model
    from serving.proxy import check_address
    from serving.resolve import resolve_model

    path = resolve_model(model)
    name = name or _name_of(model)
    check_address(host, port, "made below" if api_key is None else api_key)
    settings = replace(settings, adapters=_adapters(lora, name))
    _check(path, settings)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with connect("embedded", ClusterConfig()):
            signal.signal(signal.SIGTERM, _interrupt)  # Ray has put its own handler there
            with serve_model(
                path, model_name=name, host=host, port=port, api_key=api_key, engine=settings
            ) as endpoint:
                _announce(endpoint, as_json)
                threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def _check(path: Path, settings: EngineSettings) -> None:
    """Say now what would else be said by a replica that does not start.

    Raises:
        ConfigError: no such engine, or it has not what was asked for.
        ModelError: the model is damaged, cannot be cut so, or has a smaller context,
            or the cache holds no whole sequence.
    """
    from serving.directory import check_model
    from serving.folder import ModelFolder
    from serving.load import sizes_of

    check_model(path)
    _check_engine(settings)
    folder = ModelFolder(path)
    sizes_of(folder, settings)
    if settings.tensor_parallel > 1:
        from serving.parallel.shard import check_cut

        check_cut(folder.config, settings.tensor_parallel, folder.where)


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


def _check_engine(settings: EngineSettings) -> None:
    from clusters.config import ConfigError
    from serving.engines.choose import EngineUnavailable, check_engine

    try:
        check_engine(settings)
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
