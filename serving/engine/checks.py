"""What a request must be before it enters the engine."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

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
        EngineError: another field is of a wrong type.
    """
    if not isinstance(request.id, str) or not isinstance(request.priority, Integral):
        raise EngineError("a request's id must be a string and its priority an integer")
    if len(request.prompt_ids) == 0:
        raise InvalidToken("the prompt is empty; an engine continues at least one token")
    _check_type("max_tokens", request.sampling.max_tokens, Integral)
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
        if type(token) is not int and not isinstance(token, Integral):
            raise InvalidToken(f"token id {token!r} is no integer")
        if not 0 <= token < vocab_size:
            raise InvalidToken(f"token id {token} is outside the vocabulary of {vocab_size}")


def check_sampling(params: SamplingParams, vocab_size: int) -> None:
    """Refuse parameters that would make no distribution.

    Raises:
        InvalidSampling: names the parameter, its value and what it may be.
    """
    _check_types(params)
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
    for token, bias in _pairs(params.logit_bias):
        if not 0 <= token < vocab_size:
            raise InvalidSampling(
                f"logit_bias: token id {token} is outside the vocabulary of {vocab_size}"
            )
        if not math.isfinite(bias):
            raise InvalidSampling(f"logit_bias: {bias} for token id {token} is no number to add")


def _check_types(params: SamplingParams) -> None:
    for name in ("seed", "top_k", "top_logprobs"):
        _check_type(name, getattr(params, name), Integral)
    for name in (
        "temperature",
        "top_p",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
    ):
        _check_type(name, getattr(params, name), Real)


def _check_type(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        wanted = "an integer" if kind is Integral else "a number"
        raise InvalidSampling(f"{name} is {value!r}; it must be {wanted}")


def _pairs(bias: Any) -> list[tuple[int, float]]:
    """What ``logit_bias`` holds, as it must be."""
    try:
        pairs = [(token, number) for token, number in bias]
    except (TypeError, ValueError):
        pairs = [(None, None)]
    if not all(isinstance(t, Integral) and isinstance(b, Real) for t, b in pairs):
        raise InvalidSampling("logit_bias must hold pairs of a token id and a number to add")
    return pairs
