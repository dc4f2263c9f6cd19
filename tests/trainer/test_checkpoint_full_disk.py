"""A disk that fills while training goes on: said with the remedy, and gone on from."""

import random
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from tests.full_disk import run_on_full_disk
from tests.trainer.inputs import Inputs


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    inputs: Inputs, base: Artifact, tmp_path: Path
) -> None:
    """Room for one checkpoint, not for all that are kept and the one that is written."""
    store = tmp_path / "store"
    state = 12 * base.manifest.stats["out"]["parameters"]
    size = int(state * random.SystemRandom().uniform(1.3, 2.5))
    parents = [str(parent.directory) for parent in (inputs.tokenizer, inputs.tokens)]
    train = ("tests.trainer.drive", "pretrain", "1", str(store), *parents)
    full, again = run_on_full_disk(store, size, *train)
    print(full)
    assert not full.startswith("0 ")
    assert "a checkpoint could not be written" in full
    assert "make room" in full
    assert again == base.manifest.digest
