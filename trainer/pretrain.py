"""Pretraining: a new model on the windows of a token store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from clusters.stage import StageContext
from contracts.documents import TRAIN, VALIDATION
from contracts.manifest import hash_file
from contracts.token_store import STORE_NAME
from trainer.config import PretrainConfig
from trainer.job import Job, Prepared


@dataclass(frozen=True)
class Pretraining:
    """The objective of ``trainer.pretrain``."""

    config: PretrainConfig
    seed: int
    tokens: Path
    """Folder with ``train/`` and, if there is one, ``validation/``."""
    tokenizer: Path
    name: str = "pretrain"

    def prepare(self) -> Prepared:
        """Open the stores, initialise the model."""
        from contracts.unigram import count_tokens, unigram_log_probs
        from corpus.token_store import TokenStore
        from trainer.data.tokens import TokenRows, unigram_loss
        from trainer.models.choose import make_model
        from trainer.models.llama import DTYPES, load_tokenizer

        _, checksum = hash_file(self.tokenizer / "tokenizer.json")
        train = TokenStore.open(self.tokens / TRAIN, checksum)
        held = self.tokens / VALIDATION
        validation = TokenStore.open(held, checksum) if (held / STORE_NAME).exists() else None
        source = TokenRows(
            train,
            validation,
            sequence_length=self.config.sequence_length,
            seed=self.seed,
            validation_rows=self.config.validation_rows,
            schedule=self.config.data.schedule,
        )
        vocabulary = train.meta.vocab_size
        dtype = DTYPES[self.config.precision]
        tokenizer = load_tokenizer(self.tokenizer)
        model = make_model(self.config.model, vocabulary, tokenizer, self.seed, dtype)
        log_probs = unigram_log_probs(count_tokens(train.root))
        rows = self.config.steps * self.config.batch
        counts = {
            "train_tokens": train.num_tokens,
            "rows": rows,
            "tokens_seen": rows * self.config.sequence_length,
        }
        summary: dict[str, Any] = {
            "vocab_size": vocabulary,
            "unigram_loss": {
                domain: round(unigram_loss(log_probs, held_rows), 6)
                for domain, held_rows in source.validation().items()
            },
        }
        return Prepared(source, model, self.config.steps, counts, summary)


def run(context: StageContext) -> dict[str, Any]:
    """Run ``trainer.pretrain``."""
    from corpus.token_store import TokenStore
    from trainer.logged import note_job
    from trainer.models.source import check_model
    from trainer.workers import run_job

    tokens = context.input("tokens").path("tokens")
    tokenizer = context.input("tokenizer").path("tokenizer")
    check_store(tokens / TRAIN, tokenizer, context.config.sequence_length)
    check_sums(context, tokens)
    check_mixture(tokens / TRAIN, context.config)
    vocabulary = TokenStore.open(tokens / TRAIN).meta.vocab_size
    check_model(context.config, tokenizer, vocabulary)
    note_job(context)
    objective = Pretraining(context.config, context.seed, tokens, tokenizer)
    return run_job(
        Job(objective, context.seed, context.out, context.log_dir / "timings.jsonl"),
        context.progress,
    )


def check_store(root: Path, tokenizer: Path, row_length: int, role: str = "tokens") -> None:
    """Refuse a store that is damaged, too small or of another tokenizer, before workers start.

    Args:
        row_length: tokens of a row that is cut from it.
        role: what the recipe calls the input, for messages.

    Raises:
        ConfigError: says which file and what to do.
    """
    from corpus.token_store import TokenStore, TokenStoreError
    from trainer.models.llama import load_tokenizer

    try:
        store = TokenStore.open(root, hash_file(tokenizer / "tokenizer.json")[1])
    except TokenStoreError as error:
        raise ConfigError(f"input {role}: {error}") from error
    if not store.num_tokens:
        raise ConfigError(f"input {role}: {root}: no tokens in it; the corpus kept nothing")
    if max(shard.tokens for shard in store.meta.shards) <= row_length:
        raise ConfigError(
            f"input {role}: {root}: no shard holds the {row_length + 1} tokens that a row of "
            f"{row_length} needs; shorten the rows or take more text"
        )
    vocabulary = len(load_tokenizer(tokenizer))
    if vocabulary > store.meta.vocab_size:
        raise ConfigError(
            f"input tokenizer: {tokenizer}: {vocabulary} tokens, the store was made for "
            f"{store.meta.vocab_size}; tokenise again"
        )


def check_sums(context: StageContext, tokens: Path, role: str = "tokens") -> None:
    """Refuse stores whose bytes are not what was written, before workers start.

    What was compared is noted beside the checkpoints, so that a run that starts again does not
    read unchanged files a second time; ``verify_tokens: always`` does.

    Args:
        tokens: folder with ``train/`` and, if there is one, ``validation/``.
        role: what the recipe calls the input, for messages.

    Raises:
        ConfigError: names the damaged file.
    """
    from trainer.data.verified import damage_of

    wanted = context.config.verify_tokens
    if not wanted:
        return
    note = context.out.state_dir / f"verified-{role}.json"
    problem = damage_of(tokens, note, force=wanted == "always")
    if problem:
        raise ConfigError(
            f"input {role}: {problem}; the file was changed since it was written: "
            "remove the artifact and tokenise again"
        )


def check_mixture(root: Path, config: PretrainConfig) -> None:
    """Refuse a mixture that the store cannot give, before workers start.

    Raises:
        ConfigError: names the segment and the domain.
    """
    from corpus.token_store import Sampler, TokenStore

    try:
        Sampler(TokenStore.open(root), config.sequence_length, 0, config.data.schedule)
    except ValueError as error:
        raise ConfigError(f"data.mixture: {error}") from error
