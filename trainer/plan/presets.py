"""Numbers of the named model shapes.

Sources: each model's own ``config.json`` on its makers' pages (internlm, meta-llama, Qwen),
and InternEvo's ``configs/`` for the first InternLM.
"""

from typing import Any


def _shape(
    vocab: int, hidden: int, layers: int, heads: int, kv_heads: int, mlp: int, **other: Any
) -> dict[str, Any]:
    return {
        "vocab": vocab,
        "hidden": hidden,
        "layers": layers,
        "heads": heads,
        "kv_heads": kv_heads,
        "mlp": mlp,
        **other,
    }


SHAPES: dict[str, dict[str, Any]] = {
    "internlm-7b": _shape(103168, 4096, 32, 32, 32, 11008, qkv_bias=True, output_bias=True),
    "internlm-20b": _shape(103168, 5120, 60, 40, 40, 13824),
    "internlm2-1.8b": _shape(92544, 2048, 24, 16, 8, 8192),
    "internlm2-7b": _shape(92544, 4096, 32, 32, 8, 14336),
    "internlm2-20b": _shape(92544, 6144, 48, 48, 8, 16384),
    "llama-7b": _shape(32000, 4096, 32, 32, 32, 11008),
    "llama-13b": _shape(32000, 5120, 40, 40, 40, 13824),
    "llama-65b": _shape(32000, 8192, 80, 64, 64, 22016),
    "llama2-70b": _shape(32000, 8192, 80, 64, 8, 28672),
    "llama3-1b": _shape(128256, 2048, 16, 32, 8, 8192, tied=True),
    "llama3-8b": _shape(128256, 4096, 32, 32, 8, 14336),
    "llama3-70b": _shape(128256, 8192, 80, 64, 8, 28672),
    "qwen2.5-0.5b": _shape(151936, 896, 24, 14, 2, 4864, tied=True, qkv_bias=True),
    "qwen2.5-1.5b": _shape(151936, 1536, 28, 12, 2, 8960, tied=True, qkv_bias=True),
    "qwen2.5-7b": _shape(152064, 3584, 28, 28, 4, 18944, qkv_bias=True),
    "qwen2.5-14b": _shape(152064, 5120, 48, 40, 8, 13824, qkv_bias=True),
    "qwen2.5-32b": _shape(152064, 5120, 64, 40, 8, 27648, qkv_bias=True),
    "qwen2.5-72b": _shape(152064, 8192, 80, 64, 8, 29568, qkv_bias=True),
    "qwen3-0.6b": _shape(151936, 1024, 28, 16, 8, 3072, head_width=128, tied=True, head_norm=True),
    "qwen3-8b": _shape(151936, 4096, 36, 32, 8, 12288, head_width=128, head_norm=True),
}

ALIASES = {
    "1.8b": "internlm2-1.8b",
    "7b": "internlm2-7b",
    "20b": "internlm2-20b",
    "8b": "llama3-8b",
    "13b": "llama-13b",
    "70b": "llama3-70b",
}
