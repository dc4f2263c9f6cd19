"""What README and docs show exists and works: commands, code, links."""

import os
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from typer.testing import CliRunner

from agents.policy import Reply
from contracts.conversation import Message
from inkstone import build

DOCUMENTS = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").rglob("*.md"))]
FENCE = re.compile(r"```(?:sh|console)\n(.*?)```", re.S)
PYTHON = re.compile(r"```python\n(.*?)```", re.S)
ROOT = Path(__file__).resolve().parents[1]

NOT_RUN = {
    ("serve", "start"): "runs until it is stopped",
    ("serve", "chat"): "asks an endpoint",
    ("serve", "bench"): "reads a model, or asks an endpoint",
    ("serve", "quantize"): "reads a tuned model",
    ("stop",): "nothing is running",
    ("agent", "run"): "asks an endpoint",
    ("agent", "show"): "reads a rollout, which needs a model",
    ("agent", "replay"): "reads a rollout, which needs a model",
    ("eval", "report"): "reads the scores of a model",
    ("eval", "score"): "reads the scores of a model",
    ("eval", "index"): "reads the scores of a model",
    ("train", "convert"): "reads a published model",
    ("train", "export"): "reads the checkpoints of a training",
    ("train", "render"): "reads a tuned model",
    ("train", "show"): "reads the log of a training",
    ("train", "trace"): "reads a finished pretraining",
    ("train", "plan", "--validate"): "reads a table of measurements",
}
"""Shown commands that are not executed here, and why; any other is."""
NEED_A_MODEL = {"docs/evaluation.md", "docs/serving.md"}
"""Documents whose code needs a model: only its imports are executed."""
INSTEAD = {
    "path/to/config.json": "7b",
    "docs/images/plan-7b.svg": "plan-7b.svg",
    "good/de.jsonl": "notes",
}
"""Shown word -> what the test puts in its place."""


def shown_commands() -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        for block in FENCE.findall(document.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.removeprefix("$ ").split(" #")[0].strip()
                if line.startswith("inkstone "):
                    found.append((document.name, line))
    return found


@pytest.mark.parametrize(("document", "line"), shown_commands())
def test_a_shown_command_exists_with_its_options(document: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = typer.main.get_command(build())
    path = ["inkstone"]
    while hasattr(command, "commands"):
        word = words.pop(0)
        assert word in command.commands, f"{document}: {' '.join(path)} has no verb {word!r}"
        command = command.commands[word]
        path.append(word)
    context = click.Context(command)
    known = {option for p in command.get_params(context) for option in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"{document}: {' '.join(path)} has no {word}"


def test_the_documents_show_commands() -> None:
    assert len(shown_commands()) > 10


def command_of(line: str) -> tuple[str, ...]:
    """The words of a command line that name its command, and ``--validate``."""
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(build())
    path: list[str] = []
    while hasattr(command, "commands"):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    return (*path, *(word for word in words if word == "--validate"))


EXECUTED = sorted({line for _, line in shown_commands() if command_of(line) not in NOT_RUN})


def small_recipe() -> dict[str, Any]:
    """From text files to tokens, named as the demonstration is."""
    corpus = {
        "sources": [{"path": "notes", "format": "text", "source": "notes"}],
        "language": {"keep": []},
        "rules": {"gopher_repetition": {"enabled": False}},
        "split": {"validation_share": 0.3},
    }
    given = {"corpus": "corpus"}
    return {
        "name": "demo",
        "stages": {
            "corpus": {"stage": "corpus.build", "config": corpus},
            "tokenizer": {
                "stage": "corpus.tokenizer",
                "inputs": given,
                "config": {"vocab_size": 400},
            },
            "tokens": {"stage": "corpus.tokens", "inputs": given | {"tokenizer": "tokenizer"}},
            "selection": {"stage": "corpus.select", "inputs": given},
        },
    }


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs/demo``, made by ``inkstone run``, and this tree's recipes."""
    root = tmp_path_factory.mktemp("shown")
    rng = random.Random(5)
    words = [
        "the",
        "of",
        "and",
        "to",
        "that",
        "with",
        "have",
        "be",
        "value",
        "file",
        "reads",
        "writes",
        "opens",
        "counts",
        "merges",
    ]
    (root / "notes").mkdir()
    for number in range(60):
        lines = [" ".join(rng.choices(words, k=14)).capitalize() + "." for _ in range(20)]
        (root / "notes" / f"{number}.txt").write_text("\n".join(lines))
    (root / "small.yaml").write_text(yaml.safe_dump(small_recipe()))
    (root / "recipes").symlink_to(ROOT / "recipes")
    done = subprocess.run(
        [sys.executable, "-m", "inkstone", "run", "small.yaml"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def on_the_small_run(line: str, root: Path) -> list[str]:
    """The shown command's words, with what the small run does not have replaced."""
    words = [INSTEAD.get(word, word) for word in shlex.split(line.split(" >")[0])[1:]]
    words = [word.replace("runs/english/", "runs/demo/") for word in words]
    made = r"^runs/demo/(?!corpus|tokens|selection)\w+$"
    words = [re.sub(made, "runs/demo/tokens", word) for word in words]
    words = [f"out-{len(list(root.iterdir()))}" if word == "out/" else word for word in words]
    if words[0] == "run" and "--dry-run" not in words:
        words.append("--dry-run")
    part = next((root / "runs/demo/corpus").resolve().rglob("documents/*.parquet"))
    uid = pq.read_table(part, columns=["uid"])["uid"][0].as_py()
    return [str(uid) if word == "UID" else word for word in words]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [*EXECUTED, "inkstone schema", "inkstone schema corpus.build", "inkstone gc --help"]
)
def test_a_shown_command_runs(
    line: str, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_run)
    result = CliRunner().invoke(build(), on_the_small_run(line, finished_run))
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
    assert result.output.strip()


def shown_code() -> list[tuple[str, str]]:
    return [
        (str(document), block)
        for document in DOCUMENTS
        for block in PYTHON.findall(document.read_text(encoding="utf-8"))
    ]


def answer(messages: Sequence[Message], tools: Sequence[dict], seed: int) -> Reply:
    """A policy that answers at once."""
    return Reply(Message(role="assistant", content="42"))


@pytest.mark.parametrize(("document", "code"), shown_code())
def test_shown_code_compiles_and_its_imports_hold(document: str, code: str) -> None:
    compile(code, document, "exec")
    exec("\n".join(x for x in code.splitlines() if re.match(r"(from|import) ", x)), {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "code"), [(d, c) for d, c in shown_code() if d not in NEED_A_MODEL]
)
def test_shown_code_runs(
    document: str, code: str, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = next((finished_run / "runs/demo/tokens").resolve().rglob("tokens/train"))
    monkeypatch.chdir(store.parent.parent)
    exec(code, {"policy": answer})


@pytest.mark.parametrize(
    "target", re.findall(r"^([a-z][\w-]*):", Path("Makefile").read_text(), re.M)
)
def test_make_targets_are_explained_or_internal(target: str) -> None:
    line = next(x for x in Path("Makefile").read_text().splitlines() if x.startswith(f"{target}:"))
    assert "##" in line or target == "format"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_between_documents_hold(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document}: {target}"
