"""From records to the numbers that are reported.

* TTFT, time to first token: from a request's arrival to its first token.
* ITL, inter-token latency: between two arrivals of one answer, shared evenly by the tokens of
  the second; an answer of one token has none.
* Throughput: tokens or requests of whole answers over the time from the first arrival to the
  last token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from serving.bench.drive import Record


@dataclass(frozen=True)
class Spread:
    """A distribution in four numbers, milliseconds."""

    mean: float
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Summary:
    """One run."""

    requests: int
    failed: int
    first_error: str | None
    seconds: float
    prompt_tokens: int
    new_tokens: int
    requests_per_second: float
    new_tokens_per_second: float
    tokens_per_second: float
    """Prompt and new tokens."""
    ttft_ms: Spread | None
    """None where no request was answered."""
    itl_ms: Spread | None
    """None where no answer had two tokens."""
    latency_ms: Spread | None
    """From arrival to the last token."""


def summarise(records: Sequence[Record]) -> Summary:
    """The numbers of one run; failed requests count as failed and as nothing else."""
    whole = [record for record in records if record.error is None]
    start = min((record.due for record in records), default=0.0)
    end = max((record.arrivals[-1][0] for record in whole), default=start)
    seconds = max(end - start, 1e-9)
    prompt = sum(record.prompt_tokens for record in whole)
    new = sum(record.new_tokens for record in whole)
    return Summary(
        requests=len(records),
        failed=len(records) - len(whole),
        first_error=next((record.error for record in records if record.error), None),
        seconds=seconds,
        prompt_tokens=prompt,
        new_tokens=new,
        requests_per_second=len(whole) / seconds,
        new_tokens_per_second=new / seconds,
        tokens_per_second=(prompt + new) / seconds,
        ttft_ms=spread(first_waits(whole)),
        itl_ms=spread(token_gaps(whole)),
        latency_ms=spread([record.arrivals[-1][0] - record.due for record in whole]),
    )


def first_waits(records: Sequence[Record]) -> list[float]:
    """Seconds from each arrival to the first token."""
    return [record.arrivals[0][0] - record.due for record in records if not record.error]


def token_gaps(records: Sequence[Record]) -> list[float]:
    """Seconds between neighbouring tokens, of all answers together."""
    gaps: list[float] = []
    for record in records:
        if record.error:
            continue
        for (before, _), (now, count) in pairwise(record.arrivals):
            gaps += [(now - before) / count] * count
    return gaps


def spread(seconds: Sequence[float]) -> Spread | None:
    """Mean and percentiles (linear between neighbours), in milliseconds."""
    if not seconds:
        return None
    times = np.asarray(seconds) * 1e3
    p50, p90, p99 = np.percentile(times, (50, 90, 99)).tolist()
    return Spread(float(times.mean()), p50, p90, p99)
