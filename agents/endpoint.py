"""Policies that ask a model over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from agents.policy import PolicyRefused, Reply
from clusters.config import ConfigError
from contracts.conversation import Message
from serving.client import Client, Endpoint


@dataclass(frozen=True)
class EndpointPolicy:
    """A model on an endpoint of ours: every reply comes with its tokens. Picklable."""

    endpoint: Endpoint
    max_tokens: int
    temperature: float = 0.0

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], seed: int
    ) -> Reply:
        """Ask, patiently over a restart of the replica.

        Raises:
            PolicyRefused: status 400, e.g. the prompt does not fit the context.
        """
        import openai

        try:
            answer = _client(self.endpoint).chat(
                messages,
                tools=tools,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=seed,
            )
        except openai.BadRequestError as error:
            # The code only: the endpoint's text may name a path, and this goes into data.
            raise PolicyRefused(f"the endpoint refused the request: {error.code}") from error
        return Reply(
            message=answer.message,
            finish_reason=answer.finish_reason,
            prompt_ids=list(answer.prompt_ids),
            output_ids=list(answer.output_ids),
            logprobs=list(answer.logprobs),
        )


@cache
def _client(endpoint: Endpoint) -> Client:
    """One client per process: making its connection pool takes longer than a short reply."""
    return Client(endpoint)


@dataclass(frozen=True)
class OpenAIPolicy:
    """A model on any endpoint that speaks OpenAI's chat API; no token ids."""

    endpoint: Endpoint
    max_tokens: int
    temperature: float = 0.0

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], seed: int
    ) -> Reply:
        """Ask once, with the official client's own retries.

        Raises:
            PolicyRefused: status 400.
            ConfigError: nobody answers there, or key or model is wrong.
        """
        import openai

        where = self.endpoint
        offered: dict[str, Any] = {"tools": list(tools)} if tools else {}
        try:
            with openai.OpenAI(base_url=where.base_url, api_key=where.api_key) as client:
                answer: Any = client.chat.completions.create(
                    model=where.model_name,
                    messages=[message.to_openai() for message in messages],  # type: ignore[misc]
                    max_completion_tokens=self.max_tokens,
                    temperature=self.temperature,
                    seed=seed,
                    **offered,
                )
        except openai.BadRequestError as error:
            raise PolicyRefused(error.message) from error
        except openai.APIError as error:
            raise ConfigError(f"endpoint {where.base_url}: {error.message}") from error
        choice = answer.choices[0]
        return Reply(_message(choice.message), choice.finish_reason)


def _message(spoken: Any) -> Message:
    """The client's message in our type; fields beyond ours (e.g. refusal) are left out."""
    calls = [
        {
            "id": call.id,
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in spoken.tool_calls or []
        if call.type == "function"
    ]
    return Message.model_validate(
        {"role": "assistant", "content": spoken.content, "tool_calls": calls or None}
    )
