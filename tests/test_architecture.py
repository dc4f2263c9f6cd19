"""The house stands as docs/architecture.md says."""

import ast
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.registry import ROOMS, resolve, room_stages

ALL_ROOMS = ("contracts", "clusters", *ROOMS)
SHELLS = {
    "agents.workers",
    "clusters.connect",
    "clusters.launch.job",
    "clusters.preflight",
    "corpus.unit_map",
    "evaluation.queue",
    "serving.app",
    "serving.proxy",
    "trainer.observe.ray_gauges",
    "trainer.workers",
}
"""The modules that import Ray, at the top or inside a function; no other does."""
IMPORT_ALL = """
import importlib, json, sys
sys.modules["ray"] = None  # every import of it fails, and whoever asks is told it is absent
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""


def modules_of(room: str) -> list[str]:
    """Every module of a room but its ``__main__``, which runs when it is imported."""
    found = [m.name for m in pkgutil.walk_packages([room], f"{room}.")]
    return [room, *(name for name in found if not name.endswith("__main__"))]


def imports_ray(module: str) -> bool:
    """Whether the source of a module has an import of Ray anywhere."""
    path = Path(module.replace(".", "/"))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        if any(name.split(".")[0] == "ray" for name in names):
            return True
    return False


@pytest.mark.parametrize("room", ALL_ROOMS)
def test_every_module_but_the_shells_imports_with_ray_absent(room: str) -> None:
    names = modules_of(room)
    assert len(names) > 5
    command = [sys.executable, "-c", IMPORT_ALL, *(n for n in names if n not in SHELLS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_the_front_door_imports_with_ray_absent() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, "inkstone"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {}, done.stderr


def test_the_shells_are_the_modules_that_import_ray() -> None:
    assert {m for room in ALL_ROOMS for m in modules_of(room) if imports_ray(m)} == SHELLS


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
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
