"""Gathers what a page shows from the artifacts of a run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clusters.artifact import Artifact
from contracts.documents import VALIDATION
from contracts.token_store import STORE_NAME, TokenStoreMeta
from evaluation.report import plots
from evaluation.report.build import ReportConfig
from evaluation.report.corpus import CorpusPart, read_corpus
from evaluation.report.drawing import Plot
from evaluation.report.episodes import EpisodesPart, read_episodes
from evaluation.report.lineage import Ancestor, lineage
from evaluation.report.scores import ScoresPart, read_scores
from evaluation.report.training import Curves, Fall, read_curves
from evaluation.summary import Result

HEADLINES = ("circular_accuracy", "accuracy", "nats_per_token", "bits_per_byte")


@dataclass(frozen=True)
class Card:
    """One figure at the head of the page."""

    value: str
    caption: str


@dataclass(frozen=True)
class Pair:
    """A figure of a quantised model beside the one it was made from."""

    benchmark: str
    metric: str
    before: Result
    after: Result


@dataclass(frozen=True)
class Quantised:
    """What quantisation cost and saved."""

    label: str
    source: str
    bytes_before: int
    bytes_after: int
    pairs: list[Pair]


@dataclass(frozen=True)
class Contents:
    """All a page shows."""

    title: str
    run: str
    timings: bool
    cards: list[Card]
    corpus: CorpusPart
    tokens: dict[str, int]
    """Tokens per split."""
    curves: list[Curves]
    falls: dict[str, Fall]
    """Stage -> its validation loss before and after, where it was on the held-out text."""
    scores: ScoresPart
    quantised: list[Quantised]
    episodes: EpisodesPart | None
    lineage: list[Ancestor]
    plots: dict[str, Plot]


def gather(inputs: Mapping[str, Sequence[Artifact]], config: ReportConfig, run: str) -> Contents:
    """Read every input once and draw the figures."""
    (corpus_artifact,) = inputs["corpus"]
    (tokens_artifact,) = inputs["tokens"]
    (scores_artifact,) = inputs["scores"]
    corpus = read_corpus(corpus_artifact, config.examples)
    scores = read_scores(scores_artifact, config.examples)
    curves = [read_curves(checkpoint) for checkpoint in inputs["checkpoints"]]
    played = [read_episodes(artifact) for artifact in inputs.get("trajectories", ())]
    episodes = next((part for part in played if part is not None), None)
    stores = read_stores(tokens_artifact)
    tokens = {split: meta.num_tokens for split, meta in stores.items()}
    found = {one.label: one.fall(_domain_tokens(stores)) for one in curves}
    falls = {label: fall for label, fall in found.items() if fall is not None}
    drawn = [
        plots.funnel(corpus),
        plots.rejections(corpus),
        *(plots.curves(one, falls.get(one.label), _unigram(scores, one)) for one in curves),
        plots.heldout(scores),
        plots.accuracies(scores),
        plots.episodes(episodes) if episodes else None,
    ]
    return Contents(
        title=config.title,
        run=run,
        timings=config.timings,
        cards=_cards(corpus, tokens, falls, scores, episodes),
        corpus=corpus,
        tokens=tokens,
        curves=curves,
        falls=falls,
        scores=scores,
        quantised=_quantised(inputs, scores),
        episodes=episodes,
        lineage=lineage(artifact for artifacts in inputs.values() for artifact in artifacts),
        plots={plot.id: plot for plot in drawn if plot is not None},
    )


def read_stores(tokens: Artifact) -> dict[str, TokenStoreMeta]:
    """Split -> what its token store says of itself."""
    return {
        path.parent.name: TokenStoreMeta.model_validate_json(path.read_text(encoding="utf-8"))
        for path in tokens.files("tokens/")
        if path.name == STORE_NAME
    }


def _domain_tokens(stores: Mapping[str, TokenStoreMeta]) -> Counter[str]:
    """Held-out tokens of each domain."""
    found: Counter[str] = Counter()
    if VALIDATION in stores:
        for shard in stores[VALIDATION].shards:
            found[shard.domain] += shard.tokens
    return found


def _unigram(scores: ScoresPart, curves: Curves) -> float | None:
    """The unigram model's loss, for stages that are validated on the same domains."""
    own = {r.group: r.mean for r in scores.losses if r.label == "unigram"}
    return own.get("all") if curves.validation.keys() & own.keys() else None


def _cards(
    corpus: CorpusPart,
    tokens: dict[str, int],
    falls: Mapping[str, Fall],
    scores: ScoresPart,
    episodes: EpisodesPart | None,
) -> list[Card]:
    cards = [
        Card(f"{corpus.bytes / 1e6:.1f} MB", f"kept in {corpus.documents:,} documents"),
        Card(f"{tokens.get('train', 0) / 1e6:.2f} M", "training tokens"),
    ]
    if falls:
        overall = next(iter(falls.values())).overall
        caption = (
            f"off the untrained model's held-out loss, weighted by tokens "
            f"({overall.first:.2f} to {overall.last:.2f})"
        )
        cards.append(Card(f"{overall.share:.0%}", caption))
    for result in scores.accuracies:
        if result.label == scores.label and result.benchmark == "arithmetic":
            cards.append(Card(f"{result.mean:.0%}", f"right calculator calls of {result.n}"))
    if episodes is not None:
        cards.append(
            Card(f"{episodes.success.mean:.0%}", f"of {episodes.success.n} agent episodes succeed")
        )
    return cards


def _quantised(inputs: Mapping[str, Sequence[Artifact]], scores: ScoresPart) -> list[Quantised]:
    labels = {entry.model: entry.label for entry in scores.summary.models}
    checkpoints = {c.manifest.fingerprint: c for c in inputs["checkpoints"]}
    found = []
    for artifact in inputs.get("quantized", ()):
        sources = [checkpoints.get(p.fingerprint) for p in artifact.manifest.parents]
        source = next((s for s in sources if s is not None), None)
        label = labels.get(artifact.manifest.fingerprint)
        if source is None or label is None or source.manifest.fingerprint not in labels:
            continue
        before = labels[source.manifest.fingerprint]
        found.append(
            Quantised(
                label=label,
                source=before,
                bytes_before=_weight_bytes(source),
                bytes_after=_weight_bytes(artifact),
                pairs=_pairs(scores, before, label),
            )
        )
    return found


def _pairs(scores: ScoresPart, before: str, after: str) -> list[Pair]:
    def of(label: str) -> dict[tuple[str, str], Result]:
        return {
            (r.benchmark, r.metric): r
            for r in scores.summary.results
            if r.label == label and r.group == "all" and r.metric in HEADLINES
        }

    left, right = of(before), of(after)
    return [Pair(*key, left[key], right[key]) for key in left if key in right]


def _weight_bytes(artifact: Artifact) -> int:
    return sum(e.bytes for e in artifact.manifest.files if e.name.endswith(".safetensors"))
