"""What the terminal shows of the text that a tuning stage trains on."""

import json
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from clusters.artifact import Artifact, artifact_directory
from clusters.config import ConfigError
from contracts.manifest import MANIFEST_NAME

_CONVERSATIONS = "conversations.jsonl"
_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Span:
    """Neighbouring tokens that are all trained, or all not."""

    text: str
    trained: bool
    tokens: int


def print_rendered(path: Path, tokenizer_path: Path | None, count: int, as_json: bool) -> None:
    """Print the first ``count`` conversations of each file as the model sees them.

    Raises:
        ConfigError: nothing to render there, or no tokenizer was named.
    """
    from contracts.conversation import read_conversations
    from trainer.data.render import UnusableConversation, render
    from trainer.models.llama import load_tokenizer

    files, folder = _sources(path, tokenizer_path)
    tokenizer = load_tokenizer(folder)
    shown: list[dict[str, Any]] = []
    for file in files:
        for conversation in islice(read_conversations(file), count):
            try:
                rendered = render(conversation, tokenizer)
            except UnusableConversation as error:
                shown.append({"id": conversation.id, "unusable": str(error)})
                continue
            parts = spans(tokenizer, rendered.ids.tolist(), rendered.trained.tolist())
            shown.append(
                {
                    "id": conversation.id,
                    "source": conversation.source,
                    "tokens": len(rendered.ids),
                    "loss_tokens": int(rendered.trained.sum()),
                    "spans": [{"text": part.text, "trained": part.trained} for part in parts],
                }
            )
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=1))
    else:
        _print(shown)


def spans(tokenizer: Any, ids: list[int], trained: list[bool]) -> list[Span]:
    """Cut token ids into runs of trained and untrained tokens, decoded."""
    found = []
    for flag, group in groupby(zip(ids, trained, strict=True), key=lambda pair: pair[1]):
        run = [token for token, _ in group]
        found.append(Span(tokenizer.decode(run), flag, len(run)))
    return found


def _print(shown: list[dict[str, Any]]) -> None:
    console = Console()
    console.print("trained on (loss is taken)", style="bold green")
    console.print("only read (no loss)", style="dim")
    for item in shown:
        if "unusable" in item:
            console.rule(f"{item['id']}: unusable: {item['unusable']}")
            continue
        console.rule(f"{item['id']}: {item['loss_tokens']} of {item['tokens']} tokens")
        text = Text()
        for part in item["spans"]:
            text.append(part["text"], style="bold green" if part["trained"] else "dim")
        console.print(text)


def _sources(path: Path, tokenizer: Path | None) -> tuple[list[Path], Path]:
    """Conversation files and tokenizer folder that ``path`` stands for."""
    if (path / MANIFEST_NAME).is_file():
        return _artifact_sources(Artifact.open(path.resolve()), tokenizer)
    if not path.is_file():
        raise ConfigError(f"{path}: neither an artifact nor a {_CONVERSATIONS}")
    if tokenizer is None:
        raise ConfigError(f"--tokenizer: missing; {path} does not say how it is made into tokens")
    return [path], _tokenizer_folder(tokenizer)


def _artifact_sources(artifact: Artifact, tokenizer: Path | None) -> tuple[list[Path], Path]:
    if artifact.manifest.kind != "checkpoint":
        file = artifact.path(_CONVERSATIONS)
        if tokenizer is None:
            raise ConfigError(f"--tokenizer: missing; {artifact.directory} holds none")
        return [file], _tokenizer_folder(tokenizer)
    store = artifact.directory.parent.parent
    parents = [p for p in artifact.manifest.parents if p.role == "conversations"]
    if not parents:
        raise ConfigError(
            f"{artifact.directory}: made by {artifact.manifest.stage}, not from conversations"
        )
    directories = [artifact_directory(store, p.kind, p.fingerprint) for p in parents]
    files = [Artifact.open(directory).path(_CONVERSATIONS) for directory in directories]
    return files, artifact.path("model") if tokenizer is None else _tokenizer_folder(tokenizer)


def _tokenizer_folder(path: Path) -> Path:
    """The folder with ``tokenizer.json``: ``path``, or a folder of the artifact it names."""
    if (path / MANIFEST_NAME).is_file():
        root = Artifact.open(path).root
        candidates = [root / "tokenizer", root / "model"]
    else:
        candidates = [path]
    for folder in candidates:
        if (folder / _TOKENIZER).is_file():
            return folder
    raise ConfigError(f"--tokenizer: {path}: no {_TOKENIZER} in it")
