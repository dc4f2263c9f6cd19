"""InternLM2, slowly, from its report (arXiv:2403.17297, section 2.2) and what it builds on:
RMSNorm (arXiv:1910.07467), SwiGLU (arXiv:2002.05202), rotary positions (arXiv:2104.09864) and
grouped queries (arXiv:2305.13245). One position, one head at a time, in float64.
"""

import math

import torch

Weights = dict[str, torch.Tensor]


def norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return weight * x / math.sqrt(float((x * x).mean()) + eps)


def rotate(x: torch.Tensor, position: int, theta: float) -> torch.Tensor:
    """Pair (i, i + width / 2) turns by position * theta^(-2i / width)."""
    half = len(x) // 2
    turned = torch.empty_like(x)
    for i in range(half):
        angle = position * theta ** (-2 * i / len(x))
        a, b = float(x[i]), float(x[i + half])
        turned[i] = a * math.cos(angle) - b * math.sin(angle)
        turned[i + half] = b * math.cos(angle) + a * math.sin(angle)
    return turned


def swiglu(x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor, w3: torch.Tensor) -> torch.Tensor:
    gate = w1 @ x
    return w2 @ (gate * torch.sigmoid(gate) * (w3 @ x))


def attention(xs: list[torch.Tensor], w: Weights, prefix: str, config: dict) -> list[torch.Tensor]:
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    width = config["hidden_size"] // heads
    shared = heads // kv_heads
    bias = w.get(prefix + "wqkv.bias", torch.zeros(len(w[prefix + "wqkv.weight"]))).double()
    rows = [w[prefix + "wqkv.weight"] @ x + bias for x in xs]
    theta = config["rope_theta"]

    def part(position: int, group: int, place: int) -> torch.Tensor:
        first = (group * (shared + 2) + place) * width
        return rows[position][first : first + width]

    outs = []
    for t in range(len(xs)):
        found = []
        for head in range(heads):
            group = head // shared
            query = rotate(part(t, group, head % shared), t, theta)
            keys = [rotate(part(s, group, shared), s, theta) for s in range(t + 1)]
            scores = torch.stack([query @ key / math.sqrt(width) for key in keys]).softmax(0)
            values = torch.stack([part(s, group, shared + 1) for s in range(t + 1)])
            found.append(scores @ values)
        out = w[prefix + "wo.weight"] @ torch.cat(found)
        outs.append(out + w.get(prefix + "wo.bias", torch.zeros(1)).double())
    return outs


def internlm2_logits(weights: Weights, config: dict, ids: list[int]) -> torch.Tensor:
    """(positions, vocabulary), of one text."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    eps = config["rms_norm_eps"]
    xs = [w["model.tok_embeddings.weight"][i] for i in ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        normed = [norm(x, w[at + "attention_norm.weight"], eps) for x in xs]
        added = attention(normed, w, at + "attention.", config)
        xs = [x + y for x, y in zip(xs, added, strict=True)]
        mlp = [w[f"{at}feed_forward.w{i}.weight"] for i in (1, 2, 3)]
        xs = [x + swiglu(norm(x, w[at + "ffn_norm.weight"], eps), *mlp) for x in xs]
    return torch.stack([w["output.weight"] @ norm(x, w["model.norm.weight"], eps) for x in xs])
