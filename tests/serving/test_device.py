"""Where a model runs."""

import pytest
import torch

from serving.device import device_of
from serving.directory import ModelError
from serving.settings import EngineSettings


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(EngineSettings()).type == "cpu"
    assert device_of(EngineSettings(device="cpu")).type == "cpu"
    with pytest.raises(ModelError, match="no GPU"):
        device_of(EngineSettings(device="cuda"))
    with pytest.raises(ModelError, match=r"'gpu'.*auto, cpu, cuda"):
        device_of(EngineSettings(device="gpu"))


def test_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(EngineSettings()).type == "cuda"
    assert device_of(EngineSettings(device="cpu")).type == "cpu"
    assert device_of(EngineSettings(tensor_parallel=2)).type == "cpu"
    with pytest.raises(ModelError, match="tensor_parallel"):
        device_of(EngineSettings(device="cuda", tensor_parallel=2))
