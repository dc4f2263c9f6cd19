"""Config of ``serving.quantize``, and what a quantised config.json says."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from clusters.config import StageConfig

CONFIG_KEY = "inkstone_quantization"
"""Key of ``QuantizedWeights`` in the model's config.json."""


class QuantizeConfig(StageConfig):
    """How linear weights become 4-bit."""

    group_size: Literal[32, 64, 128] = 64
    """Input columns that share one scale and zero; smaller is closer and larger."""
    quantize_lm_head: bool = False
    """Also pack the output projection, which otherwise stays in bf16 like the embedding."""


class QuantizedWeights(BaseModel):
    """Which modules of a model directory are packed, and how."""

    model_config = ConfigDict(extra="forbid")

    bits: Literal[4] = 4
    group_size: int
    modules: list[str]
    """Names of the packed linear modules; everything else is bf16."""
