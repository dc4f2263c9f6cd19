"""Supervised fine-tuning: a checkpoint on conversations, loss on what the assistant writes."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.config import ConfigError
from clusters.stage import StageContext, StageError
from contracts.documents import TRAIN, VALIDATION
from contracts.token_store import STORE_NAME
from trainer.config import SftConfig
from trainer.job import MODEL_NAME, Job, Prepared
from trainer.pretrain import check_store, check_sums

if TYPE_CHECKING:
    from trainer.data.tokens import TokenRows

_RENDERED = "rendered.npz"
_REJECTED = "rejected.jsonl"


class TooManyBadConversations(StageError):
    """More conversations were unusable than ``max_bad_share`` allows."""


@dataclass(frozen=True)
class Tuning:
    """The objective of ``trainer.sft``."""

    config: SftConfig
    seed: int
    base: Path
    """``model/`` folder of the checkpoint that is tuned."""
    rendered: Path
    """Conversations as token ids, from ``save_rendered``."""
    replay: Path | None = None
    """Folder of the token stores that are replayed from; None for no replay."""
    name: str = "sft"

    @property
    def tokenizer(self) -> Path:
        """The base's own tokenizer."""
        return self.base

    def prepare(self) -> Prepared:
        """Pack the conversations, load the base."""
        from trainer.data.conversations import load_rendered
        from trainer.data.packing import PackedRows
        from trainer.data.replay import ReplayedRows, replayed_rows
        from trainer.models.llama import DTYPES, load_model, load_tokenizer

        tokenizer = load_tokenizer(self.base)
        source = PackedRows(
            load_rendered(self.rendered),
            row_length=self.config.row_length,
            seed=self.seed,
            pad_id=tokenizer.pad_token_id or 0,
            validation_share=self.config.validation_share,
            validation_rows=self.config.validation_rows,
        )
        share = self.config.replay_share if self.replay else 0.0
        rows_per_epoch = len(source)
        steps = math.ceil(self.config.epochs * rows_per_epoch / (1 - share) / self.config.batch)
        rows = steps * self.config.batch
        counts = {
            "train_conversations": source.train_conversations,
            "validation_conversations": source.validation_conversations,
            "rows": rows,
            "replayed_rows": replayed_rows(rows, share),
        }
        mixed = ReplayedRows(source, self._old_rows(self.replay), share) if self.replay else source
        summary = {"rows_per_epoch": rows_per_epoch}
        model = load_model(self.base, DTYPES[self.config.precision])
        return Prepared(mixed, model, steps, counts, summary)

    def _old_rows(self, root: Path) -> "TokenRows":
        from corpus.token_store import TokenStore
        from trainer.data.tokens import TokenRows

        held = root / VALIDATION
        return TokenRows(
            TokenStore.open(root / TRAIN),
            TokenStore.open(held) if (held / STORE_NAME).exists() else None,
            sequence_length=self.config.row_length,
            seed=self.seed,
            validation_rows=self.config.validation_rows,
        )


def run(context: StageContext) -> dict[str, Any]:
    """Run ``trainer.sft``."""
    from trainer.workers import run_job

    base = context.input("base").path(MODEL_NAME)
    check_base(base, context.config)
    replay = None
    if context.inputs.get("replay"):
        replay = context.input("replay").path("tokens")
        check_store(replay / TRAIN, base, context.config.row_length, "replay")
        check_sums(context, replay, "replay")
    counts = render_inputs(context, base)
    rendered = context.out.units.scratch("render/all", _RENDERED)
    objective = Tuning(context.config, context.seed, base, rendered, replay)
    job = Job(objective, context.seed, context.out, context.log_dir / "timings.jsonl")
    stats = run_job(job, context.progress)
    return {**stats, "in": {**counts, **stats["in"]}}


def render_inputs(context: StageContext, base: Path) -> dict[str, Any]:
    """Render all conversations once, as one work unit; returns its counts.

    Raises:
        TooManyBadConversations: too many of them were unusable.
    """
    from trainer.data.conversations import load_conversations, save_rendered
    from trainer.models.llama import load_tokenizer

    units = context.out.units
    if units.pending(["render/all"]):
        files = [
            (f"{artifact.manifest.kind}/{artifact.manifest.fingerprint[:12]}", path)
            for artifact in context.inputs["conversations"]
            for path in [artifact.path("conversations.jsonl")]
        ]
        found = load_conversations(files, load_tokenizer(base), context.config.row_length)
        bad_share = len(found.rejected) / max(found.total, 1)
        if not found.rendered or bad_share > context.config.max_bad_share:
            raise TooManyBadConversations(_too_bad(found, context.config.max_bad_share))
        with units.start("render/all") as unit:
            save_rendered(unit.scratch(_RENDERED), found.rendered)
            lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in found.rejected]
            unit.path(_REJECTED).write_text("".join(lines), encoding="utf-8")
            unit.stats.update(conversations=found.total, rejected=len(found.rejected))
    return units.published("render/all").stats


def _too_bad(found: Any, allowed: float) -> str:
    if not found.total:
        return "input conversations: the files hold none; nothing to tune on"
    first = found.rejected[0]
    return (
        f"{len(found.rejected)} of {found.total} conversations are unusable, "
        f"max_bad_share allows {allowed:.0%}; the first: {first['file']} line "
        f"{first['line']}: {first['reason']}"
    )


def check_base(base: Path, config: SftConfig) -> None:
    """Refuse a base that rows or workers do not fit or that has no chat template.

    Raises:
        ConfigError: says which key or file and what to do.
    """
    from trainer.models.llama import load_tokenizer

    model = json.loads((base / "config.json").read_text(encoding="utf-8"))
    longest = model.get("max_position_embeddings", config.row_length)
    if config.row_length > longest:
        raise ConfigError(
            f"row_length: {config.row_length} is more than the base's {longest} positions"
        )
    heads = model.get("num_attention_heads")
    if heads is not None:
        problem = config.parallel.problem_of_sharing(
            heads, "the base's attention heads", config.row_length, "row_length"
        )
        if problem:
            raise ConfigError(problem)
    if not load_tokenizer(base).chat_template:
        raise ConfigError(f"input base: {base}: its tokenizer has no chat template")
