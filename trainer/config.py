"""Configs of the trainer's stages."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig, execution
from trainer.models.shape import ModelShape
from trainer.observe.config import ObserveConfig

FirstSample = Annotated[int, Field(ge=0)]
SampleCount = Annotated[int, Field(gt=0)]


class OptimiserConfig(StageConfig):
    """AdamW with linear warm-up and a schedule."""

    lr: float = Field(default=3e-3, gt=0)
    """Peak learning rate."""
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    """After the warm-up: a cosine to the end, or the peak until the last ``decay_share`` of
    the steps and then a line down (warm-up, stable, decay), or the peak throughout."""
    decay_share: float = Field(default=0.1, gt=0, le=1)
    """Share of all steps in which ``wsd`` decays."""
    final_lr_ratio: float = Field(default=0.1, ge=0, le=1)
    """Learning rate of the last step, as a share of the peak."""
    warmup_steps: int = Field(default=30, ge=0)
    """Steps of linear warm-up."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment per step."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment per step."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay of matrices; norm weights have none."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient."""


class ParallelConfig(StageConfig):
    """Who trains, and how the work is cut: none of it changes which samples are trained."""

    workers: int = execution(2, gt=0)
    """Processes, at most. 1 trains in the stage's own process, without DeepSpeed."""
    min_workers: int | None = execution(None, gt=0)
    """Processes at least: training goes on with what is there; by default ``workers``."""
    resize_seconds: float = execution(60.0, ge=0)
    """Between two looks for nodes that came, where there are fewer than ``workers``; a larger
    group starts from the last checkpoint."""
    device: Literal["auto", "cpu", "cuda"] = execution("auto")
    """Where workers train: ``auto`` takes a GPU for each where the cluster has any."""
    collective_timeout_seconds: int = execution(600, gt=0)
    """For which a worker waits for the others in a sum or broadcast before it gives up. More
    than the slowest checkpoint or batch of data takes."""
    zero_stage: Literal[0, 1, 2, 3] = execution(1)
    """DeepSpeed ZeRO (arXiv:1910.02054): what is sharded over the workers. 0 nothing, 1
    optimiser state, 2 gradients too, 3 weights too."""
    shard_group: int | None = execution(None, gt=0)
    """Optimiser state is sharded over this many neighbouring workers only (those of a node),
    gradients are reduced across the groups; for ZeRO 1. By default over all."""
    bucket_bytes: int = execution(64 << 20, gt=0)
    """Bytes of fp32 gradients that travel in one message, while the backward pass goes on: for
    ``shard_group`` and ZeRO 0."""
    offload: bool = execution(False)
    """fp32 weights, moments and AdamW's step in the host's memory instead of the GPU's
    (ZeRO-Offload, arXiv:2101.06840): for one worker, and for ZeRO 1 to 3."""
    sequence_parallel: int = execution(1, gt=0)
    """Neighbouring workers that share every row, each a run of its positions (Ulysses,
    arXiv:2309.14509): for rows that do not fit one worker."""
    micro_batch: int = execution(4, gt=0)
    """Rows of one forward pass, at most: a rank's share of a small batch is one pass."""
    recompute: Literal["none", "selective", "full"] = execution("none")
    """What the backward pass computes again instead of keeping: nothing, everything but
    matrix products and attention, or whole layers."""
    threads: int = execution(1, gt=0)
    """Compute threads per worker."""
    cpus_per_worker: float = execution(0.5, gt=0)
    """Ray CPUs reserved per worker; a fraction leaves room for others."""
    max_failures: int = execution(3, ge=0)
    """Worker failures after which the stage gives up; preempted nodes do not count."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ParallelConfig":
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers: {self.min_workers} is more than workers {self.workers}")
        if self.min_workers is not None and self.sequence_parallel > 1:
            raise ValueError("sequence_parallel: for a fixed number of workers; remove min_workers")
        if self.workers % self.sequence_parallel:
            raise ValueError(
                f"sequence_parallel: {self.sequence_parallel} does not divide workers "
                f"{self.workers}"
            )
        groups = self.shard_group is not None or self.zero_stage == 0
        if self.offload and groups and (self.workers > 1 or self.min_workers is not None):
            raise ValueError(
                "offload: with several workers for zero_stage 1 to 3 without shard_group"
            )
        if self.shard_group is None:
            return self
        if self.zero_stage != 1:
            raise ValueError(
                f"shard_group: for zero_stage 1, not {self.zero_stage}; remove one of them"
            )
        if self.min_workers is not None or self.workers % self.shard_group:
            raise ValueError(
                f"shard_group: {self.shard_group} must divide a fixed number of workers "
                f"({self.workers}); set workers to a multiple and leave min_workers out"
            )
        return self

    def problem_of_sharing(self, heads: int, heads_key: str, length: int, length_key: str) -> str:
        """Why ``sequence_parallel`` workers cannot share the model's heads and rows, or nothing.

        Args:
            heads: attention heads; ``heads_key`` is what the message calls them.
            length: tokens of a row; ``length_key`` is what the message calls it.
        """
        for count, key in ((heads, heads_key), (length, length_key)):
            if count % self.sequence_parallel:
                return (
                    f"parallel.sequence_parallel: {self.sequence_parallel} does not divide {key} "
                    f"{count}; take a number that divides both {heads_key} {heads} and "
                    f"{length_key} {length}, or change them"
                )
        return ""


class CheckpointConfig(StageConfig):
    """How the state for a resume is saved, and which of it is kept."""

    keep_last: int = execution(2, gt=0)
    """Newest checkpoints that are kept."""
    keep_every: int = execution(0, ge=0)
    """Checkpoints whose step is a multiple of this are kept too; 0 keeps none of them."""
    asynchronous: bool = execution(True)
    """Train on while it is written. What is not written by the next optimiser's step is copied
    first: up to 12 bytes of memory per parameter, divided by the workers."""


class BadStepConfig(StageConfig):
    """What to do when a step's loss is NaN, infinite, or leaps."""

    action: Literal["stop", "skip", "rewind"] = "stop"
    """Stop with the batch written out; or leave the batch out and go on; or go back to the
    last checkpoint and leave it out from there."""
    max_rise: float | None = Field(default=None, gt=0)
    """Nats per token above the median of the last losses that count as a leap; by default
    only NaN and infinity are bad."""
    window: int = Field(default=32, gt=0)
    """Losses of which the median is taken; no leap is seen before there are as many."""
    at_most: int = Field(default=10, ge=0)
    """Bad steps after which training stops anyhow."""


class TrainConfig(StageConfig):
    """What both objectives share."""

    optimiser: OptimiserConfig = OptimiserConfig()
    parallel: ParallelConfig = ParallelConfig()
    batch: int = Field(default=8, gt=0)
    """Rows per optimisation step, over all workers."""
    validation_every: int = Field(default=100, gt=0)
    """Steps between validation losses; the first and last step always have one."""
    checkpoint_every: int = execution(50, gt=0)
    """Steps between checkpoints of model and optimiser."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    bad_steps: BadStepConfig = BadStepConfig()
    observe: ObserveConfig = ObserveConfig()
    """Who is told of every step: TensorBoard, Ray's metrics, MLflow, Weights & Biases."""
    verify_tokens: bool | Literal["always"] = execution(True)
    """Compare a token store's checksums before training, about a second per GB: ``true`` once,
    and again where its files were changed since; ``always`` at every start."""
    skip_samples: list[tuple[FirstSample, SampleCount]] = Field(default_factory=list)
    """Ranges of the sample order that are left out, (first sample, count)."""
    compile: bool | Literal["auto"] = execution(False)
    """Fuse operators by torch.compile: a minute at the start for faster steps. ``auto`` does
    so on GPUs. Where there is no working compiler a notice says so and nothing is compiled."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    """Of weights and activations; master weights, moments and sums are fp32 always."""

    def rows_per_pass(self, ranks: int) -> int:
        """Rows of one forward pass: the micro-batch, or a rank's share where that is less."""
        return min(self.parallel.micro_batch, -(-self.batch // ranks))

    @model_validator(mode="after")
    def _batch_feeds_everyone(self) -> "TrainConfig":
        if self.batch < self.parallel.workers // self.parallel.sequence_parallel:
            raise ValueError(
                f"batch: {self.batch} rows cannot feed parallel.workers = "
                f"{self.parallel.workers}; raise batch or lower parallel.workers"
            )
        return self


class MixtureSegment(StageConfig):
    """Weights of the domains from some sample of the run on."""

    from_sample: int = Field(ge=0)
    """First sample (row) these weights hold for; the first segment starts at 0. A step takes
    ``batch`` samples."""
    weights: dict[str, int] = Field(min_length=1)
    """Samples of each domain in a period of ``sum(weights)``; a domain not named has none."""


class DataConfig(StageConfig):
    """Which text is trained on when."""

    mixture: list[MixtureSegment] | None = None
    """Weights of the domains, and when they change; by default the store's own weights, where
    it has none every domain in proportion to its text."""

    @property
    def schedule(self) -> list[tuple[int, dict[str, int]]] | None:
        """The mixture as the token store's sampler takes it."""
        if self.mixture is None:
            return None
        return [(segment.from_sample, segment.weights) for segment in self.mixture]


class PretrainConfig(TrainConfig):
    """Config of ``trainer.pretrain``."""

    model: ModelShape = ModelShape()
    data: DataConfig = DataConfig()
    """What is read from the token store."""
    sequence_length: int = Field(default=512, gt=1)
    """Tokens per row."""
    steps: int = Field(default=320, gt=0)
    """Optimisation steps."""
    validation_rows: int = Field(default=8, gt=0)
    """Rows per domain that validation loss is taken on."""

    @model_validator(mode="after")
    def _rows_fit(self) -> "PretrainConfig":
        longest = self.model.max_positions  # None: the loaded model's, which is read later
        if longest is not None and self.sequence_length > longest:
            raise ValueError(
                f"sequence_length: {self.sequence_length} is more than model.max_positions "
                f"{longest}"
            )
        if self.model.is_loaded:
            return self
        problem = self.parallel.problem_of_sharing(
            self.model.num_heads, "model.num_heads", self.sequence_length, "sequence_length"
        )
        if problem:
            raise ValueError(problem)
        return self


class SftConfig(TrainConfig):
    """Config of ``trainer.sft``."""

    optimiser: OptimiserConfig = Field(
        default_factory=lambda: OptimiserConfig.model_validate(
            {"lr": 1e-3, "warmup_steps": 20, "weight_decay": 0.01}
        )
    )
    batch: int = Field(default=4, gt=0)
    """Rows per optimisation step, over all workers."""
    row_length: int = Field(default=512, gt=1)
    """Tokens per row; conversations are packed into rows, none is cut."""
    epochs: float = Field(default=1.2, gt=0)
    """Passes over the conversations."""
    validation_share: float = Field(default=0.02, ge=0, lt=0.5)
    """Share of the conversations held out for the validation loss, by hash of their id."""
    validation_rows: int = Field(default=8, gt=0)
    """Rows per source that validation loss is taken on, at most."""
    max_bad_share: float = Field(default=0.05, ge=0, le=1)
    """Share of conversations that may be unusable before the stage stops."""
    replay_share: float = Field(default=0.1, ge=0, le=0.9)
    """Share of all rows that are pretraining text, where the input ``replay`` is given."""
