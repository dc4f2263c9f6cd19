"""Families whose layers the plan counts, and how their parameters differ from Llama's."""

from pathlib import Path

from clusters.config import ConfigError

BIAS_OF_QKV = ("qwen2", "glm", "glm4", "seed_oss")
"""Families whose queries, keys and values have a bias, attention's output none."""
MLP_BIAS = ("llama", "granite", "helium", "smollm3", "seed_oss")
"""Families whose MLP has biases where the config says ``mlp_bias``; others ignore the key."""
_FOUR_NORMS = ("gemma2", "gemma3_text", "glm4")
"""Families that normalise what a layer adds, too."""
HEAD_NORMS = ("qwen3", "gemma3_text", "exaone4")
"""Families that normalise queries and keys by head."""
TIED = ("gemma", "gemma2", "gemma3_text", "cohere", "cohere2", "ernie4_5", "smollm3", "minicpm")
"""Families that tie their embeddings where the config does not say."""
PLANNED = {
    *("llama", "mistral", "ministral", "internlm", "internlm2", "internlm3", "baichuan", "phi3"),
    *("granite", "smollm3", "helium", "ernie4_5", "olmo2"),
    *(*BIAS_OF_QKV, *_FOUR_NORMS, *HEAD_NORMS, *TIED),
}
"""Model types whose layers are counted here; tests hold those that transformers knows against
it. Others have the same keys and other layers: an MLP without gate, shared or mixed layers."""


def check(kind: str, path: Path) -> None:
    """Refuse a ``model_type`` whose layers are not known to be counted right.

    Raises:
        ConfigError: names the file and what is planned.
    """
    if kind not in PLANNED:
        raise ConfigError(
            f"{path}: model_type: {kind!r} is not planned, for its layers may not be Llama's; "
            f"planned: {', '.join(sorted(PLANNED))}. If it has RMSNorm, attention and a gated MLP "
            'of these sizes and no more, set model_type to "llama" in a copy'
        )


def norm_width(kind: str, hidden: int, query_and_key: int) -> int:
    """Width of all norms of a layer outside its heads.

    Args:
        query_and_key: width of all queries and keys of a token.
    """
    if kind in ("cohere", "cohere2"):  # attention and MLP side by side, behind one norm
        return hidden
    if kind == "olmo2":  # queries and keys are normalised whole
        return 2 * hidden + query_and_key
    return (4 if kind in _FOUR_NORMS else 2) * hidden
