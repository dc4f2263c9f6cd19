"""Config of ``serving.quantize``, and what a quantised config.json says."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clusters.config import StageConfig
from serving.directory import ModelError

CONFIG_KEY = "inkstone_quantization"
"""Key of ``QuantizedWeights`` in the model's config.json."""
HUB_KEY = "quantization_config"
"""Key under which checkpoints of the hub say how they are packed."""


class CalibrationConfig(StageConfig):
    """How much text the scales of ``awq`` are searched on."""

    windows: int = Field(default=32, gt=0)
    """Pieces of text, spread evenly over what is given; fewer where it is shorter."""
    window: int = Field(default=512, gt=1)
    """Tokens per piece; at most what the model's context allows."""


class QuantizeConfig(StageConfig):
    """How linear weights are packed."""

    method: Literal["rtn", "awq", "nf4"] = "rtn"
    """``rtn`` rounds to nearest; ``awq`` (arXiv:2306.00978) first searches scales and clipping
    on calibration text; ``nf4`` (arXiv:2305.14314) takes the nearest of 16 normal quantiles."""
    bits: Literal[4, 8] = 4
    """Bits of a code; 8 with ``rtn`` only, one scale per output row."""
    group_size: Literal[32, 64, 128] = 64
    """Input columns that share one scale and zero, with 4 bits; smaller is closer and larger."""
    quantize_lm_head: bool = False
    """Also pack the output projection, which otherwise stays in bf16 like the embedding."""
    calibration: CalibrationConfig = CalibrationConfig()
    """For ``awq``."""

    @model_validator(mode="after")
    def _bits_fit_the_method(self) -> "QuantizeConfig":
        if self.bits == 8 and self.method != "rtn":
            raise ValueError(f"bits: 8 goes with method rtn, not {self.method}; set bits to 4")
        return self


class QuantizedWeights(BaseModel):
    """Which modules of a model directory are packed, and how."""

    model_config = ConfigDict(extra="forbid")

    bits: Literal[4, 8] = 4
    code: Literal["int", "nf4"] = "int"
    """What a code stands for: a step of the group's range, or a quantile."""
    group_size: Literal[32, 64, 128]
    """Inputs per scale, with 4 bits."""
    modules: list[str]
    """Names of the packed linear modules; everything else is bf16."""
    dense_rows: int | None = Field(default=None, gt=0)
    """Rows of activations from which a copy was measured to be faster; the engine keeps
    that copy unless told otherwise. Without it there is none."""


def quantized_weights(said: dict[str, Any], where: Path) -> QuantizedWeights | None:
    """What a config.json says of our own packing; None where it says nothing.

    Args:
        said: its contents.
        where: the file, for errors.

    Raises:
        ModelError: it says nothing sensible.
    """
    if CONFIG_KEY not in said:
        return None
    try:
        return QuantizedWeights.model_validate(said[CONFIG_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([CONFIG_KEY, *map(str, first["loc"])])
        raise ModelError(f"{where}: {key}: {first['msg']}") from error
