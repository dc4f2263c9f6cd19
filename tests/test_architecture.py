"""The house stands as docs/architecture.md says."""

import subprocess
import sys

import pytest

from clusters.registry import ROOMS, resolve, room_stages

CORES = [
    "contracts.manifest",
    "clusters.recipe",
    "clusters.runner",
    "corpus.extract",
    "corpus.rules",
    "corpus.dedup",
    "corpus.token_store.sampler",
    "corpus.tokenizer",
    "corpus.stages",
    "serving.load",
    "serving.tokenizer",
    "serving.testing",
    "serving.http.openai",
    "serving.stages",
    "trainer.loop",
    "trainer.stages",
    "agents.protocols.react",
    "agents.tools",
    "agents.environments.arithmetic",
    "agents.stages",
    "evaluation.evaluate",
    "evaluation.report",
    "evaluation.stages",
    "inkstone",
]
BLOCK = """
import sys
class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ray":
            raise ImportError("ray is absent here: " + name)
sys.meta_path.insert(0, NoRay())
"""


@pytest.mark.parametrize("module", CORES)
def test_cores_import_with_ray_absent(module: str) -> None:
    code = f"{BLOCK}\nimport {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_every_stage_resolves_by_its_name(room: str) -> None:
    stages = room_stages(room)
    assert stages
    for name, stage in stages.items():
        assert name.startswith(room + ".")
        assert resolve(name) is stage


def test_declaring_stages_is_cheap() -> None:
    heavy = ("ray", "torch", "transformers", "pandas", "matplotlib")
    code = f"import inkstone, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_imports_go_down_only() -> None:
    done = subprocess.run(["lint-imports", "--no-logo"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
