"""``serving.quantize``: a checkpoint's weights packed, piece by piece."""

from pathlib import Path
from statistics import fmean
from typing import Any

from clusters.failpoints import failpoint
from clusters.stage import StageContext, StageError
from serving.quant.config import QuantizeConfig


def run_quantize(context: StageContext) -> dict[str, Any]:
    """Pack each weight file, or with ``awq`` each layer, as one unit.

    Returns:
        Bytes, errors and what was kept.
    """
    from serving.quant.files import side_files
    from serving.quant.pieces import make_pieces, pieces_of
    from serving.quant.select import select

    config: QuantizeConfig = context.config
    source = context.input("model").path("model")
    windows = _calibration(context, source) if config.method == "awq" else []
    chosen = select(source, config)
    pieces = pieces_of(source, chosen, config, windows)
    stats = make_pieces(pieces, context.out.units, config, context.progress)
    failpoint("serving.quantize.before_config")
    for name, data in side_files(source, chosen, config):
        context.out.path(f"model/{name}").write_bytes(data)
    for line in chosen.told():
        context.progress.say(line)
    return summary(stats, chosen.kept)


def _calibration(context: StageContext, source: Path) -> list[list[int]]:
    from serving.quant.calibration import MIN_WINDOWS, read_text, window_length

    config: QuantizeConfig = context.config
    artifacts = context.inputs.get("calibration", [])
    if not artifacts:
        raise StageError(
            f"{context.name}: method awq needs text to search scales on; add an artifact of kind "
            "tokens as input `calibration`, or take method rtn"
        )
    text = read_text(artifacts[0].root, source, "train")
    length = window_length(source, config.calibration.window)
    return text.windows(config.calibration.windows, length, MIN_WINDOWS)


def summary(parts: list[dict[str, Any]], kept: dict[str, str]) -> dict[str, Any]:
    """The stage's stats, of those of all pieces."""
    errors = {k: v for part in parts for k, v in part["relative_errors"].items()}
    return {
        "in": {"bytes": sum(part["bytes_before"] for part in parts)},
        "out": {"bytes": sum(part["bytes_after"] for part in parts), "modules": len(errors)},
        "kept": kept,
        "mean_relative_error": fmean(errors.values()) if errors else 0.0,
        "max_relative_error": max(errors.values(), default=0.0),
    }
