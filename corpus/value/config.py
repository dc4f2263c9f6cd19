"""Config of the value columns: which measures, which classifiers, trained from which seeds."""

from typing import Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig
from contracts.manifest import ExternalInput

_KINDS = ("source", "path", "rejected_by", "debris", "pool")


class Seed(StageConfig):
    """Where examples of one class come from: exactly one of source, path, rejected_by, debris,
    pool.
    """

    source: str | None = None
    """Documents of this source of the corpus."""
    path: str | None = None
    """A .jsonl (plain, .gz, .zst) or .csv file outside the corpus, one example per row."""
    text_field: str = "text"
    """Field or column of that file that holds the text."""
    where: dict[str, str] = Field(default_factory=dict)
    """Only rows of that file whose fields have these values, e.g. ``{label: spam}``."""
    rejected_by: tuple[str, ...] = ()
    """Records that these rules rejected."""
    debris: bool = False
    """Lines between the sentences, from several documents in random order."""
    pool: Literal["random"] | None = None
    """A random sample of the corpus, without the sources that the other class names."""
    min_prose_share: float = Field(default=0.0, ge=0, le=1)
    """Of a source or the pool only documents with at least this share of words in sentences."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Seed":
        named = [kind for kind in _KINDS if getattr(self, kind)]
        if len(named) != 1:
            raise ValueError(
                f"a seed names exactly one of {', '.join(_KINDS)}; this one names "
                f"{', '.join(named) or 'none'}"
            )
        return self


class FastTextConfig(StageConfig):
    """How a classifier reads, trains and is calibrated."""

    max_examples: int = Field(default=4000, ge=1)
    """Most examples of each class."""
    min_examples: int = Field(default=100, ge=1)
    """With fewer of either class no classifier is trained, and the ledger says so."""
    max_chars: int = Field(default=2000, ge=100)
    """The classifier reads this many characters of a document."""
    dim: int = Field(default=16, ge=1)
    """Size of the word vectors."""
    epochs: int = Field(default=5, ge=1)
    """Passes over the examples."""
    learning_rate: float = Field(default=0.2, gt=0)
    """fastText's ``lr``."""
    word_ngrams: int = Field(default=2, ge=1)
    """Longest word n-gram that is a feature."""
    min_count: int = Field(default=2, ge=1)
    """Rarer words are no features of their own."""
    buckets: int = Field(default=1 << 17, ge=1)
    """Hash buckets for n-grams; the model file takes about ``4 * dim * buckets`` bytes."""
    calibration: Literal["platt", "isotonic", "none"] = "platt"
    """How scores become probabilities; fitted on examples that were not trained on."""
    calibration_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the train examples that the calibration is fitted on instead."""
    heldout_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of outside and rejected examples that is held out to measure on; documents of the
    corpus are held out where they are of the validation split."""


class ClassifierConfig(FastTextConfig):
    """One binary fastText classifier, trained in the build: one f32 column."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name of its column."""
    positives: list[Seed] = Field(min_length=1)
    """Examples that should score high."""
    negatives: list[Seed] = Field(min_length=1)
    """Examples that should score low."""
    languages: tuple[str, ...] = ()
    """Only documents of these languages are examples and have a score; empty: of all."""
    source_check: bool = True
    """Train once more without half of the sources, to measure on sources never trained on."""


def _quality() -> ClassifierConfig:
    return ClassifierConfig(
        name="quality",
        positives=[Seed(pool="random", min_prose_share=0.5)],
        negatives=[Seed(rejected_by=("gopher_quality", "gopher_repetition")), Seed(debris=True)],
    )


class ValueConfig(StageConfig):
    """Which score columns documents carry."""

    measures: bool = True
    """Model-free columns, see ``corpus/value/measures.py``."""
    classifiers: list[ClassifierConfig] = Field(default_factory=lambda: [_quality()])
    """Learned columns, in order. By default ``quality``: prose against debris and rejects."""

    @model_validator(mode="after")
    def _distinct_names(self) -> "ValueConfig":
        from corpus.value.names import MEASURES

        names = [classifier.name for classifier in self.classifiers]
        taken = [n for n in names if names.count(n) > 1 or n in MEASURES or n == "lang_score"]
        if taken:
            raise ValueError(f"classifiers: the name {taken[0]!r} is taken by another column")
        return self

    @property
    def negative_rules(self) -> frozenset[str]:
        """Rules whose rejects are examples: reading keeps the starts of these records."""
        return frozenset(
            rule
            for classifier in self.classifiers
            for seed in (*classifier.positives, *classifier.negatives)
            for rule in seed.rejected_by
        )

    @property
    def wants_prose(self) -> bool:
        """Whether a seed asks how much of a document is prose."""
        return any(
            seed.debris or seed.min_prose_share > 0
            for classifier in self.classifiers
            for seed in (*classifier.positives, *classifier.negatives)
        )

    @property
    def max_chars(self) -> int:
        """Characters of a rejected record that reading keeps as an example."""
        return max((classifier.max_chars for classifier in self.classifiers), default=0)


def score_columns(config: ValueConfig) -> list[str]:
    """Every f32 score column of a document, in order: measures, then classifiers."""
    from corpus.value.names import MEASURES

    measured = list(MEASURES) if config.measures else []
    return measured + [classifier.name for classifier in config.classifiers]


def external_inputs(config: ValueConfig, key: str) -> list[ExternalInput]:
    """Files of seeds outside the corpus, hashed.

    Raises:
        ConfigError: a file is missing or unreadable; names the key.
    """
    from corpus.value.outside import seed_input

    return [
        seed_input(seed.path, f"{key}.classifiers.{number}.{side}.{place}.path")
        for number, classifier in enumerate(config.classifiers)
        for side in ("positives", "negatives")
        for place, seed in enumerate(getattr(classifier, side))
        if seed.path is not None
    ]
