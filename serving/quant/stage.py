"""``serving.quantize``: a checkpoint's weights in 4 bits, file by file."""

from pathlib import Path
from statistics import fmean
from typing import Any

from clusters.failpoints import failpoint
from clusters.stage import StageContext
from serving.directory import read_config, weight_files
from serving.quant.config import QuantizeConfig


def run_quantize(context: StageContext) -> dict[str, Any]:
    """Pack each weight file as one unit; returns bytes, errors and what was kept."""
    from serving.quant.files import Selection, quantize_file, select, side_files

    config: QuantizeConfig = context.config
    source = context.input("model").path("model")
    chosen: Selection = select(source, config)
    files = weight_files(source)
    units = context.out.units
    with context.progress.task("quantize", len(files), "files") as task:
        for index, file in enumerate(files):
            name = f"quantize/{index:05d}"
            if units.pending([name]):
                with units.start(name) as unit:
                    target = unit.path(f"model/int4-{index:05d}.safetensors")
                    tied = _tied_head(source, config)
                    stats = quantize_file(file, target, chosen, config.group_size, tied)
                    unit.stats = vars(stats)
            task.advance()
    failpoint("serving.quantize.before_config")
    for name, data in side_files(source, chosen, config.group_size):
        context.out.path(f"model/{name}").write_bytes(data)
    for module, reason in chosen.kept.items():
        context.progress.say(f"{module} stays in bf16: {reason}")
    return _summary([record.stats for record in units.records("quantize")], chosen.kept)


def _tied_head(source: Path, config: QuantizeConfig) -> str | None:
    tied = read_config(source).get("tie_word_embeddings", False)
    return "model.embed_tokens.weight" if config.quantize_lm_head and tied else None


def _summary(parts: list[dict[str, Any]], kept: dict[str, str]) -> dict[str, Any]:
    errors = {k: v for part in parts for k, v in part["relative_errors"].items()}
    return {
        "in": {"bytes": sum(part["bytes_before"] for part in parts)},
        "out": {"bytes": sum(part["bytes_after"] for part in parts), "modules": len(errors)},
        "kept": kept,
        "mean_relative_error": fmean(errors.values()) if errors else 0.0,
        "max_relative_error": max(errors.values(), default=0.0),
    }
