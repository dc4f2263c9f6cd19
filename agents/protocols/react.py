"""ReAct: reason, act, observe, until the policy answers (Yao et al., arXiv:2210.03629).

The published form writes thought, action and observation as text. Here the action is a
native tool call, the thought is the text beside it, and the observation a tool message.
"""

from collections.abc import Iterator, Mapping, Sequence

from agents.policy import Policy, PolicyRefused, Reply
from agents.protocols.step import Status, Step
from agents.tools.registry import observe
from contracts.conversation import Message, ToolCall
from contracts.manifest import canonical_json, hash_bytes
from contracts.tool import Tool

CALL_MARK = "<tool_call>"
UNREADABLE = (
    "error: the tool call could not be read; write "
    '<tool_call>{"name": NAME, "arguments": {...}}</tool_call>'
)
Messages = tuple[Message, ...]


def react(
    messages: Sequence[Message],
    policy: Policy,
    tools: Mapping[str, Tool],
    *,
    max_turns: int = 4,
    seed: int = 0,
) -> Iterator[Step]:
    """Play one episode, step by step, until an answer, the last turn, or a refusal.

    A reply with several calls gives a step for each. What a tool raises becomes an
    observation. On the last turn a call is recorded but not run: nobody would read its
    result.

    Raises:
        Exception: whatever the policy raises, except ``PolicyRefused``, which ends the
            episode with status ``error``.
    """
    schemas = [tool.openai_schema() for tool in tools.values()]
    seen = tuple(messages)
    index = 0
    for turn in range(max_turns):
        turn_seed = seed_of_turn(seed, turn)
        try:
            reply = policy(seen, schemas, turn_seed)
        except PolicyRefused as error:
            yield Step(index, turn_seed, Status.ERROR, seen, seen, error=str(error))
            return
        reply = _with_stable_call_ids(reply, turn)
        last = turn == max_turns - 1
        for step in _steps(index, turn_seed, seen, reply, tools, last):
            yield step
            seen, index = step.after, step.index + 1
        if step.status.ends:
            return


def seed_of_turn(seed: int, turn: int) -> int:
    """Sampling seed of one turn, in [0, 2^31): pure in the episode's seed."""
    return int(hash_bytes(canonical_json([seed, turn]))[:8], 16) >> 1


def _steps(
    index: int,
    seed: int,
    seen: Messages,
    reply: Reply,
    tools: Mapping[str, Tool],
    last: bool,
) -> Iterator[Step]:
    """What follows from one reply: an answer, an end, or a step per call."""
    calls = reply.message.tool_calls or []
    after = (*seen, reply.message)
    if calls and last:
        call = calls[0].function
        yield Step(index, seed, Status.TRUNCATED, seen, after, reply, call)
    elif calls:
        yield from _calls(index, seed, seen, reply, tools)
    elif reply.finish_reason == "length":
        yield Step(index, seed, Status.TRUNCATED, seen, after, reply)
    elif CALL_MARK not in (reply.message.content or ""):
        yield Step(index, seed, Status.FINAL, seen, after, reply)
    elif last:
        yield Step(index, seed, Status.TRUNCATED, seen, after, reply, error=UNREADABLE)
    else:
        # No call id to answer to, so the remark comes from the user.
        told = (*after, Message(role="user", content=UNREADABLE))
        yield Step(index, seed, Status.TOOL_ERROR, seen, told, reply, error=UNREADABLE)


def _calls(
    index: int, seed: int, seen: Messages, reply: Reply, tools: Mapping[str, Tool]
) -> Iterator[Step]:
    before, after = seen, (*seen, reply.message)
    for offset, call in enumerate(reply.message.tool_calls or []):
        result = observe(tools, call.function.name, call.function.arguments)
        status = Status.TOOL_CALL if result.ok else Status.TOOL_ERROR
        after = (*after, Message(role="tool", content=result.text, tool_call_id=call.id))
        first = reply if offset == 0 else None
        yield Step(index + offset, seed, status, before, after, first, call.function, result)
        before = after


def _with_stable_call_ids(reply: Reply, turn: int) -> Reply:
    """Number the calls: endpoints draw random ids, and a rerun must give the same bytes."""
    calls = reply.message.tool_calls
    if not calls:
        return reply
    numbered = [
        ToolCall(id=f"call_{turn}_{number}", function=call.function)
        for number, call in enumerate(calls)
    ]
    message = reply.message.model_copy(update={"tool_calls": numbered})
    return Reply(message, reply.finish_reason, reply.prompt_ids, reply.output_ids, reply.logprobs)
