"""InternLM2's layout and Llama's: the same network under other names.

InternLM2 (arXiv:2403.17297, section 2.2) keeps queries, keys and values in one matrix
``wqkv`` whose rows go by key/value head: the query heads that share it, its key, its
value. Nothing is computed, rows only move, so converting there and back gives the same bits.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from clusters.config import ConfigError
from trainer.convert.safetensors_files import Described, Planned

Read = Callable[[str], torch.Tensor]
Tensors = dict[str, Described]

_TO_LLAMA = {
    "model.tok_embeddings": "model.embed_tokens",
    "model.norm": "model.norm",
    "output": "lm_head",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
"""Modules that only change their name; those of a layer without ``model.layers.N.``."""
_TO_INTERNLM2 = {llama: internlm2 for internlm2, llama in _TO_LLAMA.items()}
_WQKV, _PARTS = "attention.wqkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_NAME = re.compile(r"(?P<layer>model\.layers\.\d+\.)?(?P<module>.+)\.(?P<kind>weight|bias)")


@dataclass(frozen=True)
class Heads:
    """How attention's rows are cut."""

    heads: int
    kv_heads: int
    width: int
    """Rows of one head."""

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Heads":
        """From a ``config.json``, whose keys are alike in both layouts."""
        heads = int(config["num_attention_heads"])
        width = config.get("head_dim") or int(config["hidden_size"]) // heads
        return cls(heads, int(config.get("num_key_value_heads") or heads), int(width))

    @property
    def rows(self) -> tuple[int, int, int]:
        """Rows of queries, keys and values."""
        kv = self.kv_heads * self.width
        return self.heads * self.width, kv, kv

    def split(self, wqkv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(all rows, ...) to the rows of queries, keys and values."""
        shared = self.heads // self.kv_heads
        rest = wqkv.shape[1:]
        grouped = wqkv.reshape(self.kv_heads, shared + 2, self.width, *rest)
        parts = grouped.split([shared, 1, 1], dim=1)
        query, key, value = (part.reshape(-1, *rest) for part in parts)
        return query, key, value

    def join(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The inverse of ``split``."""
        rest = query.shape[1:]
        grouped = [
            part.reshape(self.kv_heads, -1, self.width, *rest) for part in (query, key, value)
        ]
        return torch.cat(grouped, dim=1).reshape(-1, *rest)


def to_llama(tensors: Tensors, read: Read, heads: Heads) -> list[Planned]:
    """InternLM2's tensors as Llama's.

    Raises:
        ConfigError: a tensor has a name or a shape that InternLM2 has not.
    """
    planned = []
    for name, tensor in tensors.items():
        layer, module, kind = _parse(name)
        if module != _WQKV:
            planned.append(_renamed(name, tensor, _TO_LLAMA, read))
            continue
        if tensor.shape[0] != sum(heads.rows):
            raise ConfigError(f"{name}: {tensor.shape[0]} rows, config.json says {sum(heads.rows)}")
        for index, (part, rows) in enumerate(zip(_PARTS, heads.rows, strict=True)):
            made = Described(f"{layer}{part}.{kind}", (rows, *tensor.shape[1:]), tensor.dtype)
            planned.append(Planned(made, _part_of(heads, read, name, index)))
    return planned


def to_internlm2(tensors: Tensors, read: Read, heads: Heads) -> list[Planned]:
    """Llama's tensors as InternLM2's.

    Raises:
        ConfigError: a tensor has a name or a shape that InternLM2 has no place for.
    """
    planned = []
    for name, tensor in tensors.items():
        layer, module, kind = _parse(name)
        if module not in _PARTS:
            planned.append(_renamed(name, tensor, _TO_INTERNLM2, read))
            continue
        if module != _PARTS[0]:
            continue  # written with the queries
        names = [f"{layer}{part}.{kind}" for part in _PARTS]
        found = [tensors[part].shape[0] if part in tensors else 0 for part in names]
        if tuple(found) != heads.rows:
            raise ConfigError(f"{name}: {found} rows with keys and values, want {heads.rows}")
        shape = (sum(heads.rows), *tensor.shape[1:])
        made = Described(f"{layer}{_WQKV}.{kind}", shape, tensor.dtype)
        planned.append(Planned(made, _joined(heads, read, names)))
    return planned


def config_to_llama(config: dict[str, Any]) -> dict[str, Any]:
    """InternLM2's ``config.json`` as Llama's."""
    kept = {k: v for k, v in config.items() if k not in ("auto_map", "bias", "attn_implementation")}
    kept["model_type"], kept["architectures"] = "llama", ["LlamaForCausalLM"]
    kept["attention_bias"] = bool(config.get("bias", False))
    return kept


def config_to_internlm2(config: dict[str, Any]) -> dict[str, Any]:
    """Llama's ``config.json`` as InternLM2's.

    Raises:
        ConfigError: the Llama has what InternLM2 has not.
    """
    if config.get("mlp_bias"):
        raise ConfigError("config.json: mlp_bias: InternLM2 has no biases in its MLP")
    heads = int(config["num_attention_heads"])
    if (config.get("head_dim") or int(config["hidden_size"]) // heads) * heads != int(
        config["hidden_size"]
    ):
        raise ConfigError("config.json: head_dim: InternLM2's heads fill its hidden size")
    kept = {k: v for k, v in config.items() if k not in ("attention_bias", "mlp_bias", "head_dim")}
    kept["model_type"], kept["architectures"] = "internlm2", ["InternLM2ForCausalLM"]
    kept["auto_map"] = {
        "AutoConfig": "configuration_internlm2.InternLM2Config",
        "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
    }
    kept["bias"] = bool(config.get("attention_bias", False))
    rope = kept.pop("rope_parameters", None) or {}
    older = config.get("rope_scaling") or {}
    kind = rope.get("rope_type") or older.get("rope_type") or older.get("type") or "default"
    if kind not in ("default", "linear", "dynamic"):
        raise ConfigError(
            f"config.json: rope_type {kind!r}: InternLM2 scales positions by linear or dynamic only"
        )
    if rope:  # transformers 5's way to say it; InternLM2's own code reads the older keys
        kept["rope_theta"] = rope.get("rope_theta", config.get("rope_theta", 10000.0))
        if kind != "default":
            kept["rope_scaling"] = {"type": kind, "factor": rope.get("factor", 1.0)}
    return kept


def _parse(name: str) -> tuple[str, str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"{name}: neither InternLM2 nor Llama has such a tensor")
    return match["layer"] or "", match["module"], match["kind"]


def _renamed(name: str, tensor: Described, names: dict[str, str], read: Read) -> Planned:
    layer, module, kind = _parse(name)
    if module not in names:
        raise ConfigError(f"{name}: unknown tensor for this direction; is --to the other one?")
    made = Described(f"{layer}{names[module]}.{kind}", tensor.shape, tensor.dtype)
    return Planned(made, lambda: read(name))


def _part_of(heads: Heads, read: Read, name: str, index: int) -> Callable[[], torch.Tensor]:
    return lambda: heads.split(read(name))[index]


def _joined(heads: Heads, read: Read, names: list[str]) -> Callable[[], torch.Tensor]:
    return lambda: heads.join(*(read(name) for name in names))
