"""Perplexity of packed weights and of the 8-bit cache beside bf16, on a trained model.

python -m benchmarks.serving.quantise [--folder FOLDER | --model MODEL --text TEXT]

Without --model the project's trainer trains one in FOLDER (benchmarks.serving.trained; a
temporary folder by default). Calibration is on the train split, perplexity on the validation
split, through the engine. Rounding to nearest, 8 bits and NF4 stand beside the search.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import compare
from benchmarks.serving.trained import trained
from serving.load import load_engine
from serving.quant.calibration import MIN_WINDOWS, read_text, window_length
from serving.quant.config import QuantizeConfig
from serving.quant.files import side_files
from serving.quant.measure.quality import Perplexity, perplexity
from serving.quant.pieces import pieces_of
from serving.quant.select import select

WEIGHTS_GOAL, CACHE_GOAL = 1.03, 1.005
WINDOWS, EVAL_WINDOWS = 32, 64
VARIANTS: dict[str, dict[str, Any]] = {
    "awq": {"method": "awq", "group_size": 128},
    "rtn": {"method": "rtn", "group_size": 128},
    "nf4": {"method": "nf4", "group_size": 128},
    "int8": {"method": "rtn", "bits": 8},
}


def packed(source: Path, target: Path, config: QuantizeConfig, text: list[list[int]]) -> Path:
    """Write ``source`` packed into ``target``."""
    target.mkdir()
    chosen = select(source, config)
    pieces = pieces_of(source, chosen, config, text)
    for index in range(pieces.count):
        pieces.make(index, target / f"part-{index:05d}.safetensors")
    for name, data in side_files(source, chosen, config):
        (target / name).write_bytes(data)
    return target


def measured(path: Path, windows: list[list[int]], **options: Any) -> Perplexity:
    """Perplexity through the engine."""
    length = len(windows[0])
    engine = load_engine(
        path, slots=1, max_context=length, cache_tokens=2 * length, reproducible=False, **options
    )
    try:
        return asyncio.run(perplexity(engine, windows))
    finally:
        engine.close()


def compare_variants(model: Path, text: Path, work: Path) -> None:
    """Measure every variant of one model."""
    length = window_length(model, 512)
    calibration = read_text(text, model, "train").windows(WINDOWS, length, MIN_WINDOWS)
    held_out = read_text(text, model, "validation").windows(EVAL_WINDOWS, length, MIN_WINDOWS)
    base = measured(model, held_out)
    print(f"bf16: {base}", flush=True)
    kv8 = measured(model, held_out, int8_cache=True)
    found = {}
    for name, said in VARIANTS.items():
        config = QuantizeConfig.model_validate(said)
        path = packed(model, work / name, config, calibration)
        found[name] = measured(path, held_out, dense_rows=0).value
        if name == "awq":
            # Engines keep such copies by default: they round activations too.
            found["awq-copy"] = measured(path, held_out, dense_rows=1).value
        print(f"{name}: {found[name]:.3f}, {found[name] / base.value:.4f}", flush=True)
    print(f"8-bit copy: {found['awq-copy'] / base.value:.4f}", flush=True)
    where = f"{base.tokens} held-out tokens"
    goals = {"awq": WEIGHTS_GOAL, "awq-copy": WEIGHTS_GOAL, "kv8": CACHE_GOAL}
    for name, value in {**found, "kv8": kv8.value}.items():
        kind = "8-bit cache" if name == "kv8" else f"W4/W8 ({name})"
        compare(
            f"serving-quantise-{name}",
            what=f"{kind}, {where}",
            ours=value,
            unit="perplexity",
            peer="bf16",
            theirs=base.value,
            most=goals.get(name),
            digits=3,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the trained model is, or will be")
    parser.add_argument("--model", type=Path, help="another model directory")
    parser.add_argument("--text", type=Path, help="its token stores, train and validation")
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.text is None):
        parser.error("--model and --text go together")
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as temporary:
        work = Path(temporary)
        model, text = arguments.model, arguments.text
        if model is None:
            made = trained(arguments.folder or work / "trained")
            model, text = made.model, made.tokens
        compare_variants(model, text, work)


if __name__ == "__main__":
    main()
