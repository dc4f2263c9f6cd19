"""What the command line of ``inkstone serve quantize`` asks for."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from clusters.config import ConfigError, explain
from serving.quant.config import QuantizeConfig


@dataclass(frozen=True)
class Asked:
    """The command line."""

    model: str
    out: Path
    method: str | None
    bits: int
    group: int
    lm_head: bool
    calibration: Path | None
    held_out: Path | None
    windows: int
    measure: bool
    dense_copy: bool
    threads: int | None
    as_json: bool


def config_of(asked: Asked) -> QuantizeConfig:
    """How the weights are to be packed.

    Raises:
        ConfigError: an option is wrong.
    """
    usual = "awq" if asked.calibration is not None and asked.bits == 4 else "rtn"
    said = {
        "method": asked.method or usual,
        "bits": asked.bits,
        "group_size": asked.group,
        "quantize_lm_head": asked.lm_head,
        "calibration": {"windows": asked.windows},
    }
    try:
        config = QuantizeConfig.model_validate(said)
    except ValidationError as error:
        raise ConfigError(explain(error, QuantizeConfig, "")) from error
    if config.method == "awq" and asked.calibration is None:
        raise ConfigError(
            "--method awq: needs text to search scales on: --calibration FILE (a token store, "
            ".txt, .md or .jsonl); or take --method rtn"
        )
    return config


def default_said(config: QuantizeConfig) -> str:
    """Which method was taken where none was named, and why."""
    if config.method == "awq":
        return "method awq, as there is calibration text"
    return "method rtn (round to nearest); with --calibration FILE scales are searched (awq)"


def how(config: QuantizeConfig) -> str:
    """What is done to the weights, in a few words."""
    groups = f", groups of {config.group_size}" if config.bits == 4 else ""
    return f"{config.method}, {config.bits} bits{groups}"
