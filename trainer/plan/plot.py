"""The plan as a picture: speed and memory over the number of GPUs."""

from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from trainer.plan.render import GIB, LEDGER_PARTS
from trainer.plan.search import Choice


def draw(choices: list[Choice], path: Path) -> None:
    """Write a picture of the plan; the file's ending says the format."""
    import matplotlib

    matplotlib.use("Agg")
    # The same plan gives the same file: no random ids in the SVG.
    matplotlib.rcParams["svg.hashsalt"] = "plan"
    import matplotlib.pyplot as plt

    figure, (speed, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    question = choices[0].question
    figure.suptitle(f"{question.shape.name} on {question.cluster.gpu.name}, planned")
    _speed(speed, choices)
    _memory(memory, choices)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata=metadata)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {path}: {error}") from None
    finally:
        plt.close(figure)


def _speed(axes: Any, choices: list[Choice]) -> None:
    gpus = [choice.layout.gpus for choice in choices]
    tokens = [choice.tokens for choice in choices]
    axes.plot(gpus, tokens, marker="o", label="planned")
    axes.axhline(tokens[0], linestyle=":", color="grey", label="perfect scaling")
    for x, y in zip(gpus, tokens, strict=True):
        axes.annotate(f"{y / tokens[0]:.0%}", (x, y), xytext=(0, -14), textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.set_xticks(gpus, [str(count) for count in gpus])
    axes.set_ylim(0, max(tokens) * 1.15)
    axes.set_xlabel("GPUs")
    axes.set_ylabel("tokens per GPU per second")
    axes.legend()


def _memory(axes: Any, choices: list[Choice]) -> None:
    names = [str(choice.layout.gpus) for choice in choices]
    base = [0.0] * len(choices)
    for part in LEDGER_PARTS:
        sizes = [getattr(choice.ledger, part) / GIB for choice in choices]
        axes.bar(names, sizes, bottom=base, label=part)
        base = [low + size for low, size in zip(base, sizes, strict=True)]
    room = choices[0].question.cluster.gpu.memory / GIB
    axes.axhline(room, linestyle="--", color="black", label="there is")
    axes.set_xlabel("GPUs")
    axes.set_ylabel("GiB per GPU")
    axes.legend(fontsize="small", ncols=2)
    axes.set_ylim(0, room * 1.5)
