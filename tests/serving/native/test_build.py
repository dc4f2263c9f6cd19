"""The library is compiled once, and what stands in the way is told."""

import os
import stat
from pathlib import Path

import pytest
import torch

from serving.engine.pieces import kernels_for
from serving.native import build
from serving.native.kernels import kernels


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for cached in (build.library, kernels):
        cached.cache_clear()
    yield
    for cached in (build.library, kernels):
        cached.cache_clear()


def test_a_second_process_finds_the_library(
    needs_compiler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.library()
    (made,) = (tmp_path / "cache/inkstone").iterdir()
    written = made.stat().st_mtime_ns
    build.library.cache_clear()
    build.library()
    assert made.stat().st_mtime_ns == written
    monkeypatch.setattr(build, "_processor", lambda: "another")
    build.library.cache_clear()
    build.library()
    assert len(list(made.parent.iterdir())) == 2


def test_a_compiler_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "cxx"
    broken.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(build.NoKernels, match="no such flag"):
        build.library()


def test_no_compiler_and_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.NoKernels, match="CXX"):
        build.library()
    assert kernels_for(torch.device("cpu")) is None
    assert "no compiled kernels" in caplog.text
    assert kernels_for(torch.device("meta")) is None


def test_a_folder_that_is_a_file(
    needs_compiler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "file"))
    with pytest.raises(build.NoKernels, match="file"):
        build.library()
