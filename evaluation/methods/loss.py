"""Loss on held-out text: nats per token, perplexity, bits per byte, per domain."""

import heapq
import math
from collections.abc import Sequence

from contracts.engine import Capability, Engine
from contracts.score import Score
from contracts.token_store import (
    STORE_NAME,
    Shard,
    TokenStoreMeta,
    shard_ends,
    shard_tokens,
    shard_uids,
)
from evaluation.benchmark import LossBenchmark
from evaluation.methods.base import Answer, Grade, Method, Metric, by_sample, hash_ids
from evaluation.samples import ALL, Sources, WindowSample, draw_key
from evaluation.statistics import bits_per_byte, clustered_mean, mapped
from serving.tokenizer import ChatTokenizer


class LossMethod(Method[LossBenchmark, WindowSample]):
    """Scores windows that never cross a document; the first token is context only."""

    sample_type = WindowSample
    needs = frozenset({Capability.SCORE})
    controlled = False

    def draw(self, benchmark: LossBenchmark, sources: Sources) -> list[WindowSample]:
        """``benchmark.samples`` windows per domain, chosen by hash of document and offset."""
        meta = TokenStoreMeta.model_validate_json((sources.validation / STORE_NAME).read_text())
        drawn: list[WindowSample] = []
        for domain in sorted({shard.domain for shard in meta.shards}):
            places = [
                (draw_key(domain, uid, offset), index, begin, end, uid, offset)
                for index, shard in enumerate(meta.shards)
                if shard.domain == domain
                for begin, end, uid, offset in _windows(benchmark, sources, shard)
            ]
            for _, index, begin, end, uid, offset in heapq.nsmallest(benchmark.samples, places):
                ids = shard_tokens(sources.validation, meta, meta.shards[index])[begin:end]
                drawn.append(_sample(sources, domain, uid, offset, tuple(ids.tolist())))
        return drawn

    def prompt(
        self, tokenizer: ChatTokenizer, benchmark: LossBenchmark, sample: WindowSample
    ) -> list[int]:
        """Nothing: the window itself is scored."""
        return []

    async def ask(
        self,
        engine: Engine,
        tokenizer: ChatTokenizer,
        benchmark: LossBenchmark,
        sample: WindowSample,
    ) -> Answer:
        """Mean loss of the window, in nats per token."""
        (scored,) = await engine.score((), [sample.tokens])
        loss = -scored.total / len(scored.logprobs)
        return Answer(repr(loss), hash_ids(sample.tokens), 1, len(scored.logprobs))

    def grade(
        self, tokenizer: ChatTokenizer, benchmark: LossBenchmark, sample: WindowSample, output: str
    ) -> Grade:
        """The loss itself."""
        return Grade(output, float(output))

    def metrics(
        self, benchmark: LossBenchmark, samples: Sequence[WindowSample], rows: Sequence[Score]
    ) -> list[Metric]:
        """Nats per token, perplexity and bits per byte, over all domains and for each."""
        pairs = [(s, r) for s, r in by_sample(samples, rows) if r.error is None]
        found = _figures(pairs, ALL)
        for domain in sorted({sample.domain for sample, _ in pairs}):
            found += _figures([(s, r) for s, r in pairs if s.domain == domain], domain)
        return found


def _windows(
    benchmark: LossBenchmark, sources: Sources, shard: Shard
) -> list[tuple[int, int, int, int]]:
    """(begin, end, uid, offset in the document) of every window of a shard, in tokens."""
    found = []
    begin = 0
    ends, uids = shard_ends(sources.validation, shard), shard_uids(sources.validation, shard)
    for end, uid in zip(ends.tolist(), uids.tolist(), strict=True):
        for start in range(begin, end, benchmark.window_tokens):
            stop = min(start + benchmark.window_tokens, end)
            if stop - start >= benchmark.min_tokens:
                found.append((start, stop, uid, start - begin))
        begin = end
    return found


def _sample(
    sources: Sources, domain: str, uid: int, offset: int, tokens: tuple[int, ...]
) -> WindowSample:
    table = sources.token_bytes
    num_bytes = None if table is None else int(table[list(tokens[1:])].sum())
    return WindowSample(
        id=f"{domain}/{uid}/{offset}",
        uid=uid,
        domain=domain,
        start=offset,
        tokens=tokens,
        num_bytes=num_bytes,
    )


def _figures(pairs: list[tuple[WindowSample, Score]], group: str) -> list[Metric]:
    if not pairs:
        return []
    losses = [row.correct for _, row in pairs]
    tokens = [float(row.output_tokens) for _, row in pairs]
    nats = clustered_mean(losses, tokens, [sample.uid for sample, _ in pairs])
    found = [
        Metric("nats_per_token", nats, group),
        Metric("perplexity", mapped(nats, math.exp), group),
    ]
    sizes = [sample.num_bytes for sample, _ in pairs]
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes) and sum(known) > 0:
        per_token = sum(tokens) / sum(known)
        bits = mapped(nats, lambda loss: bits_per_byte(loss * per_token, 1))
        found.append(Metric("bits_per_byte", bits, group))
    return found
