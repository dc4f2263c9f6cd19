"""Compiles the kernels for the processor at hand, once, and keeps the library.

The library lies in ``$XDG_CACHE_HOME/inkstone`` (``~/.cache/inkstone``) under a name that tells
source, compiler, flags and processor apart, so that no other machine's is ever loaded.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parent
SOURCES = tuple(_HERE / name for name in ("kernels.cpp", "product.cpp", "many.cpp", "layers.cpp"))
_HEADERS = tuple(_HERE / name for name in ("floats.h", "tiles.h"))
_FLAGS = (
    *("-O3", "-march=native", "-mprefer-vector-width=512", "-std=c++17", "-fPIC", "-shared"),
    *("-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"),
)
_X86_ONLY = "-mprefer-vector-width=512"
_TIMEOUT = 120
"""Seconds; it takes three."""


class NoKernels(Exception):
    """The kernels cannot be compiled or loaded here; the message says why."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The compiled kernels; the first call on a machine compiles them.

    Raises:
        NoKernels: there is no working compiler, or no place for the library.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++")
    if compiler is None:
        raise NoKernels("there is no g++ (set CXX to name another compiler)")
    try:
        return ctypes.CDLL(str(_built(compiler)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise NoKernels(f"{compiler}: {said.strip().splitlines()[0]}") from error


def _built(compiler: str) -> Path:
    flags = [f for f in _FLAGS if f != _X86_ONLY or platform.machine() == "x86_64"]
    version = _run([compiler, "--version"])
    texts = [source.read_text(encoding="utf-8") for source in (*SOURCES, *_HEADERS)]
    told = (*texts, version, *flags, _processor())
    digest = hashlib.blake2b("\0".join(told).encode(), digest_size=12).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inkstone"
    target = folder / f"kernels-{digest}.so"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        made = Path(partial) / target.name
        _run([compiler, *flags, *map(str, SOURCES), "-o", str(made)])
        # Several processes may come here at once: each has the same to give.
        os.replace(made, target)
    return target


def _processor() -> str:
    """What ``-march=native`` looks at."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return "\n".join(
        sorted({x for x in lines if x.startswith(("flags", "model name", "Features"))})
    )


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT)
    return done.stdout
