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
            ) as endpoint:
                _announce(endpoint, as_json)
                threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


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
