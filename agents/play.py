"""One episode, printed step by step."""

import json

import typer

from agents.episode import EpisodeKey, turns
from agents.policy import Policy
from agents.protocols.react import react
from agents.protocols.step import Step
from agents.show import step_lines
from agents.tools.registry import TOOLS
from contracts.conversation import Message


def play_one(question: str, policy: Policy, *, max_turns: int, seed: int, as_json: bool) -> None:
    """Play the question with every tool there is; steps are printed as they happen."""
    steps: list[Step] = []
    start = [Message(role="user", content=question)]
    for step in react(start, policy, TOOLS, max_turns=max_turns, seed=seed):
        steps.append(step)
        if not as_json:
            typer.echo("\n".join(_lines(step)))
    if as_json:
        rows = turns(EpisodeKey("alone", question), steps, reward=None)
        typer.echo(json.dumps([row.model_dump() for row in rows], ensure_ascii=False))


def _lines(step: Step) -> list[str]:
    said = step.reply.message.content if step.reply else None
    call = (step.call.name, step.call.arguments) if step.call else None
    result = step.observation.text if step.observation else step.error
    return step_lines(step.index, step.status, said, call, result)
