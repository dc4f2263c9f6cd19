"""An episode's name, and its steps as rows of the trajectory table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agents.protocols.step import Step, messages_json
from contracts.manifest import canonical_json, hash_bytes
from contracts.trajectory import Turn, episode_id


@dataclass(frozen=True)
class EpisodeKey:
    """Which episode: everything that its ids and its seed follow from."""

    run: str
    """What was asked, e.g. the fingerprint of the artifact it belongs to."""
    task: str
    sample: int = 0
    """Episodes of one task differ by it."""
    policy_version: int = 0

    @property
    def episode_id(self) -> str:
        """Stable id: the same ask always names the same episode."""
        return episode_id(self.run, self.policy_version, self.task, self.sample)

    @property
    def group_id(self) -> str:
        """Shared by the samples of one task."""
        return hash_bytes(canonical_json([self.run, self.policy_version, self.task]))[:32]

    @property
    def seed(self) -> int:
        """Sampling seed of the episode, in [0, 2^32)."""
        return int(self.episode_id[:8], 16)


def turns(key: EpisodeKey, steps: Sequence[Step], reward: float | None) -> list[Turn]:
    """The steps as trajectory rows, the reward on the last.

    ``attempt`` is a hash of what the try produced, not a counter: a try that was killed
    and repeated gives the same rows. ``tool_ms`` stays empty for the same reason.
    """
    rows = [_row(key, step, reward if step is steps[-1] else None) for step in steps]
    content = canonical_json([row.model_dump() for row in rows])
    return [row.model_copy(update={"attempt": hash_bytes(content)[:16]}) for row in rows]


def _row(key: EpisodeKey, step: Step, reward: float | None) -> Turn:
    reply = step.reply
    output = reply.output_ids if reply else []
    return Turn(
        episode_id=key.episode_id,
        attempt="",
        group_id=key.group_id,
        policy_version=key.policy_version,
        turn=step.index,
        messages=messages_json(step.seen),
        reply=_reply_json(step),
        prompt_ids=reply.prompt_ids if reply else [],
        output_ids=output,
        logprobs=reply.logprobs if reply else [],
        loss_mask=[True] * len(output),
        tool_name=step.call.name if step.call else None,
        args_json=step.call.arguments if step.call else None,
        result_json=_result_json(step),
        status=step.status,
        reward=reward,
        seed=step.seed,
    )


def _reply_json(step: Step) -> str | None:
    if step.reply is None:
        return None
    return json.dumps(step.reply.message.to_openai(), ensure_ascii=False)


def _result_json(step: Step) -> str | None:
    if step.observation is not None:
        return step.observation.result_json
    return None if step.error is None else json.dumps(step.error, ensure_ascii=False)
