"""Every command that README and docs show exists, with the options shown."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from inkstone import build

DOCUMENTS = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").glob("*.md"))]
FENCE = re.compile(r"```(?:sh|console)\n(.*?)```", re.S)


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
