"""What a request must be before it enters the engine."""

import math
from collections.abc import Sequence

from contracts.engine import (
    EngineError,
    EngineRequest,
    InvalidSampling,
    InvalidToken,
    PromptTooLong,
    SamplingParams,
)


def check_request(request: EngineRequest, max_context: int, vocab_size: int) -> None:
    """Refuse what the engine cannot run.

    Raises:
        InvalidToken: no prompt, or an id outside the vocabulary.
        PromptTooLong: prompt and ``max_tokens`` do not fit.
        InvalidSampling: a sampling parameter has no meaning.
    """
    if not request.prompt_ids:
        raise InvalidToken("the prompt is empty; an engine continues at least one token")
    if request.sampling.max_tokens < 1:
        raise EngineError(f"max_tokens is {request.sampling.max_tokens}; it must be at least 1")
    wanted = len(request.prompt_ids) + request.sampling.max_tokens
    if wanted > max_context:
        raise PromptTooLong(
            f"{len(request.prompt_ids)} prompt tokens and max_tokens "
            f"{request.sampling.max_tokens} need {wanted}; "
            f"this engine's context is {max_context}"
        )
    check_ids(request.prompt_ids, max_context, vocab_size)
    check_sampling(request.sampling, vocab_size)


def check_ids(ids: Sequence[int], max_context: int, vocab_size: int) -> None:
    """Refuse ids outside the vocabulary, or more than the context holds.

    Raises:
        PromptTooLong, InvalidToken: see above.
    """
    if len(ids) > max_context:
        raise PromptTooLong(f"{len(ids)} tokens; this engine's context is {max_context}")
    for token in ids:
        if not 0 <= token < vocab_size:
            raise InvalidToken(f"token id {token} is outside the vocabulary of {vocab_size}")


def check_sampling(params: SamplingParams, vocab_size: int) -> None:
    """Refuse parameters that would make no distribution.

    Raises:
        InvalidSampling: names the parameter, its value and what it may be.
    """
    for name, value, low, high in (
        ("temperature", params.temperature, 0.0, math.inf),
        ("top_p", params.top_p, 0.0, 1.0),
        ("min_p", params.min_p, 0.0, 1.0),
        ("top_k", params.top_k, 0, math.inf),
        ("top_logprobs", params.top_logprobs, 0, vocab_size),
        ("presence_penalty", params.presence_penalty, -math.inf, math.inf),
        ("frequency_penalty", params.frequency_penalty, -math.inf, math.inf),
    ):
        if not low <= value <= high or math.isinf(value):
            raise InvalidSampling(f"{name} is {value}; it must be from {low} to {high}")
    if not 0 < params.repetition_penalty < math.inf:
        raise InvalidSampling(
            f"repetition_penalty is {params.repetition_penalty}; it must be above 0"
        )
    for token, bias in params.logit_bias:
        if not 0 <= token < vocab_size:
            raise InvalidSampling(
                f"logit_bias: token id {token} is outside the vocabulary of {vocab_size}"
            )
        if not math.isfinite(bias):
            raise InvalidSampling(f"logit_bias: {bias} for token id {token} is no number to add")
