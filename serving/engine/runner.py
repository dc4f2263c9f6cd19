"""Runs a transformers model over the paged cache.

``width`` decides how company shows in the numbers. With a width, decode always runs that
many rows and every chunk of a prompt runs alone, so that no matrix shape depends on who
else is there and the same request gives the same bits. Without one, a step is one forward
over exactly the tokens there are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from contracts.engine import Scored
from serving.engine.attention import ATTENTION, attending
from serving.engine.batch import Batch, BatchBuilder
from serving.engine.blocks import BlockTable
from serving.engine.cache import CacheShape, Int8Cache, PagedCache
from serving.engine.decoder import decoder_of, known_family
from serving.engine.new_weights import checked
from serving.engine.pieces import kernels_for
from serving.engine.plan import Chunk
from serving.engine.plan import Sequence as Scheduled
from serving.engine.resident import Residents
from serving.engine.rotary import follow_lengths, trained_context
from serving.engine.sampling import likeliest
from serving.engine.scoring import Pack
from serving.gpu.graphs import DecodeGraphs, StepShape, row_buckets
from serving.gpu.paged_decode import splits_for
from serving.gpu.ready import runs_kernels
from serving.lora.files import Adapter
from serving.lora.install import check_adapter, install, remove
from serving.lora.route import Routes, all_rows, routed, routes_of
from serving.native.kernels import Kernels, takes_heads
from serving.quant.copies import CopyBits


@dataclass(frozen=True)
class RunnerConfig:
    """How a model is run."""

    max_context: int
    """Tokens of one sequence."""
    num_blocks: int
    """Cache blocks, one of them padding."""
    block_size: int = 32
    """Tokens per block."""
    width: int = 0
    """Decode rows of every step; 0 runs as many as there are."""
    int8_cache: bool = False
    """Keep keys and values in 8 bits."""
    ranks: int = 1
    """Processes that the model's heads are cut over; the cache holds this one's."""
    slots: int = 16
    """Rows of the largest decode step."""
    cuda_graphs: bool = True
    """Replay decode steps as graphs, on a GPU."""
    copy_bits: CopyBits = 8
    """Bits per weight of copies of 4-bit weights, where any are kept."""
    compiled: bool = True
    """Use the kernels of ``serving.native``, on a CPU with a compiler."""


class ModelRunner:
    """A causal language model and its cache. Not thread-safe: one thread calls it."""

    def __init__(self, model: PreTrainedModel, config: RunnerConfig) -> None:
        self._model = model.eval()
        model.set_attn_implementation(ATTENTION)
        self.config = config
        self.max_context = config.max_context
        embeddings: Any = model.get_input_embeddings()
        self.vocab_size: int = embeddings.weight.shape[0]
        self._device = embeddings.weight.device
        self.trained_context = trained_context(model.config)
        follow_lengths(model)
        kernels = runs_kernels(self._device)
        wanted = config.compiled and not kernels
        self._compiled = kernels_for(self._device) if wanted else None
        self._decoder = decoder_of(model, self._compiled)
        shape = cache_shape(model.config, config)
        dtype: torch.dtype = embeddings.weight.dtype
        self.cache: PagedCache | Int8Cache = (
            Int8Cache(shape, self._device)
            if config.int8_cache
            else PagedCache(shape, dtype, self._device)
        )
        splits = partial(self._splits, shape.num_kv_heads) if kernels else None
        self._residents: Residents | None = None
        pages: Callable[[int], int] | None = splits
        if isinstance(self.cache, PagedCache) and not kernels:
            if self._compiled is not None and takes_heads(embeddings.weight, shape.head_dim):
                pages = _whole
            else:
                self._residents = Residents(self.cache)
        self._builder = BatchBuilder(
            config.block_size, dtype, self._device, self._residents, pages, self.trained_context
        )
        self._graphs: DecodeGraphs | None = None
        if splits is not None and config.cuda_graphs and known_family(model):
            rows = row_buckets(config.width or config.slots, config.width > 0)
            step = StepShape(config.block_size, config.max_context, rows, splits)
            self._graphs = DecodeGraphs(self._all_logits, step, self._device)

    @property
    def model(self) -> PreTrainedModel:
        """The model whose weights run."""
        return self._model

    @property
    def compiled(self) -> Kernels | None:
        """The kernels it computes with, where it has any."""
        return self._compiled

    @property
    def place_bytes(self) -> int:
        """Bytes of one token's keys and values, of all layers."""
        return self.cache.nbytes // (self.config.num_blocks * self.config.block_size)

    @torch.inference_mode()
    def step(self, decode: Sequence[Chunk], prefill: Sequence[Chunk]) -> dict[Chunk, torch.Tensor]:
        """Compute chunks; for those that reach the end of their sequence, logits.

        Returns:
            Logits of the last token, shape (vocabulary,), float32 or the model's type, by chunk.
        """
        logits: dict[Chunk, torch.Tensor] = {}
        if self._graphs is not None and (self.config.width or not prefill):
            table = self._graphs.run(decode) if self._graphs.takes(decode) else None
            if table is not None:
                logits = {c: row for c, row in zip(decode, table, strict=True) if _ends(c)}
                decode = []
        for part in self._parts(decode, prefill):
            rows = {
                chunk: row
                for chunk, row in zip(part.order, part.last_rows, strict=True)
                if _ends(chunk)
            }
            # With a width, padding goes through the projection too: one shape for all.
            padded = part.decodes and self.config.width > 0
            wanted = list(range(self.config.width)) if padded else list(rows.values())
            hidden = self._forward(part, routes_of(part, self.config.width > 0), wanted)
            if not rows:
                continue
            table = self._raw_logits(hidden)
            for index, (chunk, row) in enumerate(rows.items()):
                logits[chunk] = table[row if padded else index]
        return logits

    @torch.inference_mode()
    def score(
        self,
        chunk: Chunk | None,
        pack: Pack | None,
        blocks: Sequence[int],
        last: torch.Tensor,
        adapter: str | None = None,
    ) -> tuple[torch.Tensor, list[Scored]]:
        """Compute a piece of a context and continuations of it, in one forward.

        Args:
            chunk: tokens of the context that are not computed yet; None where all are.
            pack: continuations, once ``chunk`` ends the context; None before.
            blocks: cache blocks of the context.
            last: last hidden state of the context, where ``chunk`` is None; (0 or 1, hidden).
            adapter: LoRA adapter of them all.

        Returns:
            The last hidden state, shape (1, hidden), and the pack's results in order.
        """
        hidden = last
        if chunk is not None or (pack is not None and pack.ids()):
            chunks = [] if chunk is None else [chunk]
            batch = self._builder.build([], chunks, pack=pack, context=blocks)
            rows = 0 if chunk is None else chunk.count
            wanted = range(max(rows - 1, 0), batch.ids.shape[1])
            hidden = self._forward(batch, all_rows(adapter), wanted)
            if rows:
                last = hidden[:1]
            else:
                hidden = torch.cat((last, hidden))
        targets = pack.targets() if pack is not None else []
        if pack is None or not targets:
            return last, [] if pack is None else pack.scored([], [])
        rows_of, tokens = torch.tensor(targets, device=self._device).T
        return last, pack.scored(*self._token_logprobs(hidden, rows_of, tokens))

    @torch.inference_mode()
    def logits(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits of texts, all but the last token of each in two chunks, that in a decode step.

        For before the first request: it writes into the first blocks of the cache.

        Args:
            texts: token ids, at least three in each; as many texts as the cache has room for.

        Returns:
            Shape (tokens of all texts, vocabulary), float32.
        """
        blocks = iter(range(1, self.config.num_blocks))
        sequences = []
        for ids in texts:
            own = [next(blocks) for _ in range(-(-len(ids) // self.config.block_size))]
            sequences.append(Scheduled("", list(ids), len(ids), table=BlockTable(own)))
        cuts = [(0, len(ids) // 2, len(ids) - 1, len(ids)) for ids in texts]
        rows: dict[Scheduled, list[torch.Tensor]] = {each: [] for each in sequences}
        for part in range(3):
            step = [
                Chunk(each, cut[part], cut[part + 1] - cut[part])
                for each, cut in zip(sequences, cuts, strict=True)
            ]
            decode, prefill = ([], step) if part < 2 else (step, [])
            batch = self._builder.build(decode, prefill)
            hidden = self._forward(batch)
            for chunk, last in zip(batch.order, batch.last_rows, strict=True):
                rows[chunk.sequence].append(hidden[last + 1 - chunk.count : last + 1])
        return self._logits(torch.cat([row for each in sequences for row in rows[each]]))

    def no_hidden(self) -> torch.Tensor:
        """The hidden states of nothing, shape (0, hidden)."""
        embeddings: Any = self._model.get_input_embeddings()
        return embeddings.weight.new_zeros(0, embeddings.weight.shape[1])

    @torch.inference_mode()
    def load_state(self, state: dict[str, Any]) -> None:
        """Copy new weights over the old ones, all or none.

        Raises:
            EngineError: they do not fit; see ``serving.engine.new_weights``.
        """
        own = self._model.state_dict()
        for name, value in self.checked(state).items():
            own[name].copy_(value)

    def checked(self, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """New weights as tensors.

        Raises:
            EngineError: they do not fit; see ``serving.engine.new_weights``.
        """
        tied = getattr(self._model, "all_tied_weights_keys", None) or {}
        return checked(state, self._model.state_dict(), tied, self.part_of)

    def part_of(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """What of a tensor this runner's model holds: all of it."""
        return whole

    def load_adapter(self, name: str, adapter: Adapter) -> None:
        """Put a LoRA adapter beside the weights.

        Raises:
            AdapterError: it does not fit them.
        """
        check_adapter(self._model, adapter)
        install(self._model, name, adapter, self._builder.dtype)

    def drop_adapter(self, name: str) -> None:
        """Take a LoRA adapter away."""
        remove(self._model, name)

    @torch.inference_mode()
    def capture(self) -> None:
        """Capture the graphs of all decode steps, before the first request waits for one."""
        if self._graphs is not None:
            self._graphs.capture_all()

    @property
    def alive(self) -> bool:
        """Whether it can still run."""
        return True

    def close(self) -> None:
        """End what else belongs to it: nothing."""

    def _parts(self, decode: Sequence[Chunk], prefill: Sequence[Chunk]) -> Iterable[Batch]:
        width = self.config.width
        if not width:
            if decode or prefill:
                yield self._builder.build(decode, prefill)
            return
        if decode:
            yield self._builder.build(decode, [], width)
        for chunk in prefill:
            yield self._builder.build([], [chunk])

    def _forward(
        self, batch: Batch, routes: Routes | None = None, wanted: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Hidden states after the final norm of the ``wanted`` rows, or all; (rows, hidden)."""
        rows = None
        if wanted is not None and len(wanted) < batch.ids.shape[1]:
            rows = torch.tensor(wanted, dtype=torch.long, device=self._device)
        # Adapters know rows by their places in the batch.
        late = rows is not None and routes is not None
        try:
            with attending(batch, self.cache, self._compiled), routed(routes):
                hidden = self._decoder(batch.ids, batch.positions, None if late else rows)
                return hidden[rows] if late else hidden
        except BaseException:
            if self._residents is not None:
                self._residents.forget()
            raise

    def _all_logits(self, batch: Batch) -> torch.Tensor:
        return self._logits(self._forward(batch))

    def _splits(self, kv_heads: int, rows: int) -> int:
        return splits_for(rows, kv_heads, self.config.max_context, self._device)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._raw_logits(hidden).float()

    def _raw_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of hidden states, in the model's type where nothing is done to them."""
        head: Any = self._model.get_output_embeddings()
        return self._decoder.scaled(head(hidden))

    def _token_logprobs(
        self, hidden: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[list[float], list[bool]]:
        # Each row once: options of one token all read the context's last row.
        unique, where = torch.unique(rows, return_inverse=True)
        logits = self._logits(hidden[unique])
        best = likeliest(logits)[where]
        chosen = logits[where, tokens] - logits.logsumexp(dim=-1)[where]
        return chosen.tolist(), (best == tokens).tolist()


def _whole(rows: int) -> int:
    """Parts that a compiled kernel cuts a row into: its threads share out rows and heads."""
    return 1


def _ends(chunk: Chunk) -> bool:
    """Whether a chunk reaches the end of its sequence."""
    return chunk.start + chunk.count == len(chunk.sequence.tokens)


def cache_shape(config: Any, run: RunnerConfig) -> CacheShape:
    """Sizes of the cache that a model needs."""
    heads = config.num_attention_heads
    return CacheShape(
        num_layers=config.num_hidden_layers,
        num_blocks=run.num_blocks,
        block_size=run.block_size,
        num_kv_heads=(getattr(config, "num_key_value_heads", None) or heads) // run.ranks,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
    )
