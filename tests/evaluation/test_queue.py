"""What goes wrong in a worker reaches the user as it was, without a traceback."""

from pathlib import Path

import pytest

from clusters.artifact import ArtifactError
from clusters.units import Units
from evaluation.benchmark import load_benchmark
from evaluation.contestants import Contestant
from evaluation.jobs import Job
from evaluation.queue import run_jobs
from evaluation.samples import WindowSample
from evaluation.summary import ModelEntry


def test_a_missing_model_is_named(tmp_path: Path, ray_session: None) -> None:
    entry = ModelEntry(label="m", model="m", kind="checkpoint", role="model")
    contestant = Contestant(entry, tmp_path / "gone")
    window = WindowSample(id="w", domain="docs", start=0, tokens=(1, 2, 3))
    job = Job(contestant, load_benchmark("heldout_loss"), 0, (window,))
    with pytest.raises(ArtifactError, match="gone") as failed:
        list(run_jobs([job], Units(tmp_path), slots=1, workers=1, cpus_per_worker=0.1))
    assert "\n" not in str(failed.value)
