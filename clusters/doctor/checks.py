"""The checks, each a small function that returns a finding."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from clusters.doctor.finding import Finding
from clusters.registry import ROOMS

_GIB = 2**30
_SERVE_PORT = 8000


def python() -> Finding:
    """Which Python runs (older ones than ours refuse to install the package)."""
    return Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def packages() -> Finding:
    """Whether the installed packages are what the package asks for."""
    try:
        wanted = importlib.metadata.requires("inkstone") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", "warning", "inkstone is not installed", "run: make setup")
    problems = []
    for line in wanted:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement.name} is {version}, needed {requirement.specifier}")
    if problems:
        return Finding("packages", "error", "; ".join(problems), "run: make setup")
    return Finding("packages", "ok", f"{len(wanted)} requirements met")


def shadowed_rooms() -> Finding:
    """Whether another package hides one of our folders (openai-agents installs ``agents``)."""
    home = Path(__file__).resolve().parents[2]
    hidden = []
    for room in ("contracts", "clusters", *ROOMS):
        spec = importlib.util.find_spec(room)
        if spec is None or not spec.origin or not Path(spec.origin).is_relative_to(home):
            hidden.append(f"{room} -> {spec.origin if spec else 'not found'}")
    if hidden:
        remedy = "uninstall the package that brings it (pip uninstall openai-agents), or use a venv"
        return Finding("rooms", "error", "; ".join(hidden), remedy)
    return Finding("rooms", "ok", f"all below {home}")


def fasttext() -> Finding:
    """Two packages write the same ``fasttext`` folder; with both, neither works."""
    names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    found = sorted(
        names & {"fasttext", "fasttext-wheel", "fasttext-numpy2-wheel", "fasttext-predict"}
    )
    if len(found) != 1:
        remedy = "keep one: pip uninstall " + " ".join(n for n in found if "numpy2" not in n)
        return Finding("fasttext", "error", ", ".join(found) or "missing", remedy)
    return Finding("fasttext", "ok", found[0])


def cpus() -> Finding:
    """CPU cores."""
    count = psutil.cpu_count() or 1
    if count < 2:
        return Finding("cpus", "warning", "1", "the demo wants 2 cores: it trains on two workers")
    return Finding("cpus", "ok", str(count))


def accelerator() -> Finding:
    """GPUs that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", "ok", "none: everything runs on the CPU")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("gpu", "ok", ", ".join(names))


def memory() -> Finding:
    """Free memory, against what the demo needs."""
    from clusters.preflight import Machine

    free = Machine.here(Path.cwd()).memory_bytes / _GIB
    if free < 8:
        return Finding("memory", "warning", f"{free:.1f} GiB free", "the demo needs up to 8 GiB")
    return Finding("memory", "ok", f"{free:.1f} GiB free")


def disk() -> Finding:
    """Free disk below the current folder."""
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    if free < 5:
        return Finding("disk", "warning", f"{free:.1f} GiB free", "the demo needs about 2 GiB")
    return Finding("disk", "ok", f"{free:.1f} GiB free")


def shared_memory() -> Finding:
    """Size of /dev/shm: Ray's object store lives there."""
    path = Path("/dev/shm")
    if not path.exists():
        return Finding("shm", "ok", "no /dev/shm on this system")
    free = shutil.disk_usage(path).free / _GIB
    if free < 0.5:
        remedy = "give the container --shm-size=2g; Ray falls back to slow files in /tmp"
        return Finding("shm", "warning", f"{free:.2f} GiB free", remedy)
    return Finding("shm", "ok", f"{free:.1f} GiB free")


def port() -> Finding:
    """Whether the endpoint's default port is free."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", _SERVE_PORT)) == 0
    if taken:
        return Finding("port", "warning", f"{_SERVE_PORT} is taken", "serve with --port 0")
    return Finding("port", "ok", f"{_SERVE_PORT} is free")


def token() -> Finding:
    """Ray's auth token must be readable by its owner alone."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not path.exists():
        return Finding("token", "ok", "Ray makes one at the first start")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("token", "error", f"{path} has mode {mode:o}", f"run: chmod 600 {path}")
    return Finding("token", "ok", f"{path} has mode {mode:o}")


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    packages,
    shadowed_rooms,
    fasttext,
    cpus,
    accelerator,
    memory,
    disk,
    shared_memory,
    port,
    token,
)
