"""The runner of a model that is cut over several processes.

Rank 0 has the scheduler. Before it computes a step it tells the other ranks what the step is,
in a few hundred integers, and all run the same code on their own part of heads and columns.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from contracts.engine import Scored
from serving.directory import ModelError
from serving.engine.plan import Chunk
from serving.engine.runner import ModelRunner, RunnerConfig
from serving.engine.scoring import Pack
from serving.folder import ModelFolder
from serving.lora.files import Adapter
from serving.lora.install import check_adapter, install
from serving.parallel.group import Group
from serving.parallel.mirror import Mirror, spec_of
from serving.parallel.shard import Cuts
from serving.parallel.workers import Workers


@dataclass(frozen=True)
class Rank:
    """What a rank needs to open its part."""

    path: Path
    config: RunnerConfig
    dense_rows: int | None
    threads: int


class RankRunner(ModelRunner):
    """One rank's part of the model. All ranks are called alike."""

    def __init__(self, model: PreTrainedModel, config: RunnerConfig, group: Group) -> None:
        super().__init__(model, config)
        self.group = group
        self._cuts = Cuts(model, group)
        self.mirror = Mirror()

    def part_of(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The part of one of the model's tensors that is this rank's."""
        return self._cuts.part(name, whole)

    def load_adapter(self, name: str, adapter: Adapter) -> None:
        """Put this rank's part of an adapter beside its part of the weights."""
        dtype, group = self._builder.dtype, self.group
        install(self._model, name, adapter, dtype, group.rank, group.size)

    @torch.inference_mode()
    def take_state(self, header: list[tuple[str, torch.Size, torch.dtype]]) -> None:
        """Receive whole tensors from rank 0, one at a time, and keep this rank's part."""
        own = self._model.state_dict()
        for name, shape, dtype in header:
            whole = self.group.send(torch.empty(shape, dtype=dtype, device=self._device))
            own[name].copy_(self.part_of(name, whole))


class FirstRunner(RankRunner):
    """Rank 0, which tells the others."""

    def __init__(
        self, model: PreTrainedModel, config: RunnerConfig, group: Group, workers: Workers
    ) -> None:
        super().__init__(model, config, group)
        self._workers = workers

    @property
    def alive(self) -> bool:
        """Whether all ranks are there."""
        return self._workers.alive

    def step(self, decode: Sequence[Chunk], prefill: Sequence[Chunk]) -> dict[Chunk, torch.Tensor]:
        """See ``ModelRunner.step``.

        Raises:
            WorkerLost: a rank failed or died, now or before.
        """
        with self._together("step", [spec_of(c) for c in decode], [spec_of(c) for c in prefill]):
            return super().step(decode, prefill)

    def score(
        self,
        chunk: Chunk | None,
        pack: Pack | None,
        blocks: Sequence[int],
        last: torch.Tensor,
        adapter: str | None = None,
    ) -> tuple[torch.Tensor, list[Scored]]:
        """See ``ModelRunner.score``.

        Raises:
            WorkerLost: a rank failed or died, now or before.
        """
        # Float32 holds every smaller type exactly.
        state = last.float().cpu().numpy()
        spec = None if chunk is None else spec_of(chunk)
        with self._together("score", spec, pack, list(blocks), state, adapter):
            return super().score(chunk, pack, blocks, last, adapter)

    def load_state(self, state: dict[str, Any]) -> None:
        """See ``ModelRunner.load_state``; ``state`` is of the whole model.

        Raises:
            EngineError: it does not fit; nothing has changed.
            WorkerLost: a rank failed or died, now or before.
        """
        new = self.checked(state)
        header = [(name, value.shape, value.dtype) for name, value in new.items()]
        own = self._model.state_dict()
        with self._together("take_state", header), torch.inference_mode():
            for name, value in new.items():
                self.group.send(value.to(self._device))
                own[name].copy_(self.part_of(name, value))

    def load_adapter(self, name: str, adapter: Adapter) -> None:
        """See ``ModelRunner.load_adapter``; every rank keeps its part.

        Raises:
            AdapterError: it does not fit; no rank has it.
            WorkerLost: a rank failed or died, now or before.
        """
        check_adapter(self._model, adapter, self.group.size)
        with self._together("load_adapter", name, adapter):
            super().load_adapter(name, adapter)

    def drop_adapter(self, name: str) -> None:
        """See ``ModelRunner.drop_adapter``."""
        with self._together("drop_adapter", name):
            super().drop_adapter(name)

    def close(self) -> None:
        """End the other ranks."""
        self._workers.close()

    @contextmanager
    def _together(self, *message: Any) -> Iterator[None]:
        self._workers.tell(*message)
        try:
            yield
        except Exception as error:
            # The others may be waiting in a sum that this rank will not come to.
            raise self._workers.fail(error) from error


def follow(runner: RankRunner, name: str, *arguments: Any) -> None:
    """Do on this rank what rank 0 does."""
    chunk = runner.mirror.chunk
    if name == "step":
        decode, prefill = arguments
        runner.step([chunk(s) for s in decode], [chunk(s) for s in prefill])
    elif name == "score":
        spec, pack, blocks, state, adapter = arguments
        last = torch.from_numpy(state).to(runner.no_hidden())
        runner.score(None if spec is None else chunk(spec), pack, blocks, last, adapter)
    elif name == "load_adapter":
        runner.load_adapter(*arguments)
    elif name == "drop_adapter":
        runner.drop_adapter(*arguments)
    elif name == "take_state":
        runner.take_state(*arguments)
    else:
        raise ValueError(f"rank 0 asks for {name!r}, which no rank can do")


def open_parallel(
    folder: ModelFolder, config: RunnerConfig, dense_rows: int | None, threads: int
) -> ModelRunner:
    """The runner of a model cut over this process and ``config.ranks - 1`` new ones.

    Raises:
        ModelError: the model cannot be opened, or cut so.
        WorkerLost: a rank did not start.
    """
    from serving.load import open_runner
    from serving.parallel.shard import check_cut

    size = config.ranks
    check_cut(folder.config, size, folder.where)
    workers = Workers(size)
    try:
        workers.hear()
        for rank, pipe in enumerate(workers.pipes, start=1):
            opening = Rank(folder.path, config, dense_rows, threads)
            _send(pipe, (opening, workers.meeting, rank, size))
        group = Group(workers.meeting, 0, size, torch.device("cpu"))

        def first(model: PreTrainedModel, config: RunnerConfig) -> ModelRunner:
            return FirstRunner(model, config, group, workers)

        runner = open_runner(folder, config, dense_rows, group=group, make=first)
        workers.hear()
        return runner
    except ModelError:
        workers.close()  # every rank has found the same
        raise
    except Exception as error:
        raise workers.fail(error) from error


def open_rank(opening: Rank, meeting: Path, rank: int, size: int) -> RankRunner:
    """A worker's side of ``open_parallel``."""
    from serving.load import open_runner

    torch.set_num_threads(opening.threads)
    group = Group(meeting, rank, size, torch.device("cpu"))

    def make(model: PreTrainedModel, config: RunnerConfig) -> RankRunner:
        return RankRunner(model, config, group)

    folder = ModelFolder(opening.path)
    runner = open_runner(folder, opening.config, opening.dense_rows, group=group, make=make)
    assert isinstance(runner, RankRunner)
    return runner


def _send(pipe: Any, message: tuple[Any, ...]) -> None:
    import pickle

    pipe.send_bytes(pickle.dumps(message))
