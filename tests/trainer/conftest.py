"""Small real inputs: a tokenizer, a token store and conversations, made from a seed."""

from pathlib import Path

import pytest

from clusters.artifact import Artifact
from tests.trainer.inputs import Inputs, make_inputs


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny matrices gain nothing from threads, and lose much where cores are busy."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def base(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A checkpoint pretrained for a few steps in this process."""
    from tests.trainer.inputs import run_pretrain

    return run_pretrain(inputs, tmp_path_factory.mktemp("base"), workers=1)


@pytest.fixture(scope="session")
def tokenizer_dir(inputs: Inputs) -> Path:
    return inputs.tokenizer.path("tokenizer")


@pytest.fixture(scope="session")
def two_workers(
    inputs: Inputs, tmp_path_factory: pytest.TempPathFactory, ray_session: None
) -> Artifact:
    """The same training by two DeepSpeed workers, undisturbed."""
    from tests.trainer.inputs import run_pretrain

    return run_pretrain(inputs, tmp_path_factory.mktemp("two"), workers=2)
