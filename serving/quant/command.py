"""``inkstone serve quantize``: a model directory packed and measured, without a recipe."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.config import ConfigError
from clusters.progress import Progress
from serving.quant.asked import Asked, config_of, default_said, how
from serving.quant.config import QuantizeConfig
from serving.resolve import resolve_model

if TYPE_CHECKING:
    from serving.quant.measure.run import Measured
    from serving.quant.select import Selection
    from serving.quant.work import Work

REPORT_NAME = "quantize.json"
"""What was measured, beside the weights."""
EVAL_WINDOWS = 64
MIN_EVAL_WINDOWS = 2


def quantize_model(asked: Asked) -> None:
    """Pack, measure, write ``asked.out``, and print what was found.

    The folder appears whole or not at all. Killed while it packs, the same command goes on at
    the piece it was at.

    Raises:
        ConfigError: an option is wrong, ``out`` exists, or text is missing or too short.
        ModelError: the model cannot be read, or is packed already.
    """
    config = config_of(asked)
    source = resolve_model(asked.model)
    if asked.out.exists() or asked.out.is_symlink():
        raise ConfigError(f"--out {asked.out}: exists already; name a folder that does not")
    calibration, held_out = _texts(asked, config, source)
    progress = Progress(sys.stderr)
    if asked.method is None:
        progress.say(default_said(config))
    import torch

    from serving.quant.select import select
    from serving.quant.work import work_beside

    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    chosen = select(source, config)
    with work_beside(asked.out, _fingerprint(source, config, calibration), progress) as work:
        report = _pack(work, source, config, chosen, calibration, progress)
        model = work.assemble()
        _write_side_files(source, model, config, chosen, None)
        if asked.measure:
            measured = _measure(asked, source, model, held_out, progress)
            report |= _told(measured)
            _write_side_files(source, model, config, chosen, measured.dense_rows)
            _print(asked, config, measured, report)
        elif asked.as_json:
            print(json.dumps(report, indent=1))
        (model / REPORT_NAME).write_text(json.dumps(report, indent=1) + "\n")
        model.rename(asked.out)
    print(f"wrote {asked.out}; serve it with: inkstone serve start {asked.out}", file=sys.stderr)


def _fingerprint(
    source: Path, config: QuantizeConfig, calibration: list[list[int]]
) -> dict[str, Any]:
    """All that decides the bytes of the packed weights."""
    import torch

    from contracts.manifest import hash_bytes
    from serving.directory import model_digest
    from serving.stages import STAGES

    return {
        "version": STAGES[0].version,
        "model": model_digest(source),
        "config": config.model_dump(),
        "calibration": hash_bytes(json.dumps(calibration).encode()),
        "threads": torch.get_num_threads(),
    }


def _texts(
    asked: Asked, config: QuantizeConfig, source: Path
) -> tuple[list[list[int]], list[list[int]]]:
    """Windows to calibrate on and windows to take perplexity on; they never overlap."""
    from serving.quant.calibration import MIN_WINDOWS, find_store, read_text, window_length

    length = window_length(source, config.calibration.window)
    train = None if asked.calibration is None else read_text(asked.calibration, source, "train")
    place = asked.held_out
    if place is None and asked.calibration is not None and asked.calibration.is_dir():
        place = find_store(asked.calibration, "validation")
    other = None if place is None else read_text(place, source, "validation")
    if train is not None and (other is None or other.source == train.source):
        train, other = train.split()
    calibration = []
    if train is not None and config.method == "awq":
        calibration = train.windows(config.calibration.windows, length, MIN_WINDOWS)
    held_out = []
    if other is not None and asked.measure:
        held_out = other.windows(EVAL_WINDOWS, length, MIN_EVAL_WINDOWS)
    return calibration, held_out


def _pack(
    work: "Work",
    source: Path,
    config: QuantizeConfig,
    chosen: "Selection",
    windows: list[list[int]],
    progress: Progress,
) -> dict[str, Any]:
    from serving.quant.pieces import make_pieces, pieces_of
    from serving.quant.stage import summary

    started = time.monotonic()
    pieces = pieces_of(source, chosen, config, windows)
    stats = make_pieces(pieces, work.units, config, progress)
    seconds = time.monotonic() - started
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in chosen.told():
        progress.say(line)
    progress.say(f"packed in {seconds:.0f} s, peak memory {peak / 2**20:.0f} MiB")
    return {
        "config": config.model_dump(),
        **summary(stats, chosen.kept),
        "packing": {"seconds": seconds, "peak_bytes": peak},
    }


def _write_side_files(
    source: Path,
    target: Path,
    config: QuantizeConfig,
    chosen: "Selection",
    dense_rows: int | None,
) -> None:
    from serving.quant.files import side_files

    for name, data in side_files(source, chosen, config, dense_rows):
        (target / name).write_bytes(data)


def _measure(
    asked: Asked, source: Path, target: Path, held_out: list[list[int]], progress: Progress
) -> "Measured":
    from serving.quant.measure.run import count_steps, measure

    if not held_out:
        progress.say("no --eval and no --calibration text: perplexity is not measured")
    with progress.task("measure", count_steps(len(held_out)), "steps") as task:
        return measure(
            source,
            target,
            held_out,
            lambda done: task.advance(note=done),
            threads=asked.threads,
            may_copy=asked.dense_copy,
        )


def _told(measured: "Measured") -> dict[str, Any]:
    from serving.quant.measure.report import as_json

    return {"measured": as_json(measured)}


def _print(
    asked: Asked, config: QuantizeConfig, measured: "Measured", report: dict[str, Any]
) -> None:
    from rich.console import Console

    from serving.quant.measure.report import advice, table_of

    if asked.as_json:
        print(json.dumps(report, indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 110).print(table_of(measured, how(config)))
    for line in advice(measured, config.bits):
        print(line, file=sys.stderr)
