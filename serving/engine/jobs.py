"""A request inside the engine, and what becomes of it when a token is chosen."""

from dataclasses import dataclass, field

from contracts.engine import EngineRequest, FinishReason, TokenChunk
from serving.engine.errors import BadLogits
from serving.engine.guide import Matcher
from serving.engine.plan import Sequence
from serving.engine.sampling import Choice, Draw
from serving.engine.stream import Stream


@dataclass(eq=False)
class Job:
    """A request, the stream that waits for it, and its place in the scheduler."""

    request: EngineRequest
    stream: Stream
    matcher: Matcher | None = None
    root: int = 0
    """What its cache blocks begin from: its adapter's own."""
    sequence: Sequence = field(init=False)

    def __post_init__(self) -> None:
        prompt = list(self.request.prompt_ids)
        self.sequence = Sequence(
            self.request.id,
            prompt,
            len(prompt),
            priority=self.request.priority,
            adapter=self.request.adapter,
            root=self.root,
        )

    def draw(self) -> Draw:
        """What its next token depends on."""
        allowed = self.matcher.allowed() if self.matcher is not None else None
        output = self.sequence.tokens[self.sequence.prompt_length :]
        return Draw(self.request.sampling, self.request.prompt_ids, output, allowed)

    def take(self, choice: Choice | None, policy_version: int) -> TokenChunk:
        """Add its next token; the chunk says whether it was the last.

        Raises:
            BadLogits: nothing could be chosen.
            EngineError: its guide cannot go on.
        """
        if choice is None:
            raise BadLogits("the model's logits are not finite; nothing can be chosen")
        token = choice.token
        if self.matcher is not None:
            self.matcher.take(token)
        self.sequence.tokens.append(token)
        reason = None
        if token in self.request.sampling.stop_token_ids or (
            self.matcher is not None and self.matcher.complete
        ):
            reason = FinishReason.STOP
        elif self.sequence.generated >= self.request.sampling.max_tokens:
            reason = FinishReason.LENGTH
        top = (choice.top,) if self.request.sampling.top_logprobs else ()
        return TokenChunk(
            self.request.id,
            (token,),
            (choice.logprob,),
            policy_version,
            reason,
            top_logprobs=top,
        )
