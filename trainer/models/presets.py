"""Numbers of the named model shapes: one table for the plan and for ``model.preset``.

Sources: each model's own ``config.json`` on its makers' pages (internlm, meta-llama, Qwen),
and InternEvo's ``configs/`` for the first InternLM. Positions are those of pretraining,
before any later extension to long contexts.
"""

from typing import Any


def _shape(
    vocab: int,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    mlp: int,
    *,
    theta: float,
    positions: int,
    eps: float,
    **other: Any,
) -> dict[str, Any]:
    return {
        "vocab": vocab,
        "hidden": hidden,
        "layers": layers,
        "heads": heads,
        "kv_heads": kv_heads,
        "mlp": mlp,
        "theta": theta,
        "positions": positions,
        "eps": eps,
        **other,
    }


_INTERNLM: dict[str, Any] = {"theta": 1e4, "eps": 1e-6}
_INTERNLM2: dict[str, Any] = {"theta": 1e6, "positions": 32768, "eps": 1e-5}
_LLAMA: dict[str, Any] = {"theta": 1e4, "positions": 2048, "eps": 1e-6}
_LLAMA3: dict[str, Any] = {"theta": 5e5, "positions": 8192, "eps": 1e-5}
_QWEN2: dict[str, Any] = {"theta": 1e6, "positions": 32768, "eps": 1e-6, "qkv_bias": True}
_QWEN2_LARGE: dict[str, Any] = {**_QWEN2, "eps": 1e-5}
_QWEN3: dict[str, Any] = {
    "theta": 1e6, "positions": 32768, "eps": 1e-6, "head_width": 128, "head_norm": True
}  # fmt: skip

SHAPES: dict[str, dict[str, Any]] = {
    "internlm-7b": _shape(103168, 4096, 32, 32, 32, 11008, **_INTERNLM, positions=2048,
                          qkv_bias=True, output_bias=True),
    "internlm-20b": _shape(103168, 5120, 60, 40, 40, 13824, **_INTERNLM, positions=4096),
    "internlm2-1.8b": _shape(92544, 2048, 24, 16, 8, 8192, **_INTERNLM2),
    "internlm2-7b": _shape(92544, 4096, 32, 32, 8, 14336, **_INTERNLM2),
    "internlm2-20b": _shape(92544, 6144, 48, 48, 8, 16384, **_INTERNLM2),
    "llama-7b": _shape(32000, 4096, 32, 32, 32, 11008, **_LLAMA),
    "llama-13b": _shape(32000, 5120, 40, 40, 40, 13824, **_LLAMA),
    "llama-65b": _shape(32000, 8192, 80, 64, 64, 22016, **{**_LLAMA, "eps": 1e-5}),
    "llama2-70b": _shape(32000, 8192, 80, 64, 8, 28672, theta=1e4, positions=4096, eps=1e-5),
    "llama3-1b": _shape(128256, 2048, 16, 32, 8, 8192, **_LLAMA3, tied=True),
    "llama3-8b": _shape(128256, 4096, 32, 32, 8, 14336, **_LLAMA3),
    "llama3-70b": _shape(128256, 8192, 80, 64, 8, 28672, **_LLAMA3),
    "qwen2.5-0.5b": _shape(151936, 896, 24, 14, 2, 4864, **_QWEN2, tied=True),
    "qwen2.5-1.5b": _shape(151936, 1536, 28, 12, 2, 8960, **_QWEN2, tied=True),
    "qwen2.5-7b": _shape(152064, 3584, 28, 28, 4, 18944, **_QWEN2),
    "qwen2.5-14b": _shape(152064, 5120, 48, 40, 8, 13824, **_QWEN2_LARGE),
    "qwen2.5-32b": _shape(152064, 5120, 64, 40, 8, 27648, **_QWEN2_LARGE),
    "qwen2.5-72b": _shape(152064, 8192, 80, 64, 8, 29568, **_QWEN2_LARGE),
    "qwen3-0.6b": _shape(151936, 1024, 28, 16, 8, 3072, **_QWEN3, tied=True),
    "qwen3-8b": _shape(151936, 4096, 36, 32, 8, 12288, **_QWEN3),
}  # fmt: skip

ALIASES = {
    "1.8b": "internlm2-1.8b",
    "7b": "internlm2-7b",
    "20b": "internlm2-20b",
    "8b": "llama3-8b",
    "13b": "llama-13b",
    "70b": "llama3-70b",
}


def preset_name(name: str) -> str | None:
    """The preset that ``name`` or an alias of it stands for; None where there is none."""
    known = ALIASES.get(name.lower(), name.lower())
    return known if known in SHAPES else None
