"""Runs one stage in a process with a Ray of its own, and kills it or its worker once."""

import json
import os
import subprocess
import sys
from pathlib import Path

from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.failpoints import VARIABLE

_ROOT = Path(__file__).resolve().parents[2]
_DRIVER = """
import json, sys
from pathlib import Path
from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage
from clusters.registry import resolve
name, config, inputs, store = sys.argv[1:]
stage = resolve(name)
opened = {role: [Artifact.open(path)] for role, path in json.loads(inputs).items()}
with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=100 << 20)):
    run_stage(stage, stage.config.model_validate_json(config), opened, store=Path(store))
"""


def run_killed(
    stage: str,
    config: StageConfig,
    inputs: dict[str, Artifact],
    store: Path,
    failpoint: str,
    victim: str,
) -> Artifact:
    """What the stage made, though its ``victim`` (driver or worker) was killed at a failpoint.

    A killed driver is started again; a killed worker must not disturb the driver.
    """
    store.mkdir()
    token = store / "token"
    token.touch()
    killed = _drive(stage, config, inputs, store, f"{failpoint}:{token}")
    assert not token.exists(), "the failpoint was never reached"
    assert (killed == 0) == (victim == "worker")
    if killed != 0:
        assert _drive(stage, config, inputs, store, "") == 0
    (manifest,) = store.glob("*/*/manifest.json")
    artifact = Artifact.open(manifest.parent)
    assert artifact.verify() == []
    return artifact


def _drive(
    stage: str, config: StageConfig, inputs: dict[str, Artifact], store: Path, armed: str
) -> int:
    folders = json.dumps({role: str(artifact.directory) for role, artifact in inputs.items()})
    command = [sys.executable, "-c", _DRIVER, stage, config.model_dump_json(), folders, str(store)]
    return subprocess.run(
        command,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT), VARIABLE: armed},
        capture_output=True,
        timeout=500,
    ).returncode
