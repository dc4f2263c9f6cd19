"""Which device ranks train on."""

import pytest
import torch

from clusters.config import ConfigError
from tests.trainer.ranks import Run, run_here
from trainer.config import ParallelConfig
from trainer.parallel.device import on_gpus, rank_device


def parallel(**changes) -> ParallelConfig:
    return ParallelConfig.model_validate({"workers": 4, **changes})


def test_workers_take_gpus_where_the_cluster_has_them():
    assert not on_gpus(parallel(), 0.0)
    assert on_gpus(parallel(), 4.0)
    assert on_gpus(parallel(min_workers=2), 3.0)
    assert not on_gpus(parallel(device="cpu"), 8.0)


@pytest.mark.parametrize(("device", "gpus"), [("auto", 3.0), ("cuda", 0.0), ("cuda", 3.0)])
def test_too_few_gpus_are_said_before_workers_start(device, gpus):
    with pytest.raises(ConfigError, match=rf"4 workers need a GPU each, the cluster has {gpus:g}"):
        on_gpus(parallel(device=device), gpus)


def test_one_process_takes_what_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rank_device(parallel()).type == "cpu"
    with pytest.raises(ConfigError, match=r"parallel\.device: cuda, but torch sees no GPU"):
        rank_device(parallel(device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert rank_device(parallel()).type == "cuda"
    assert rank_device(parallel(device="cpu")).type == "cpu"


@pytest.mark.hardware
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_as_a_cpu_does(tmp_path, precision):
    tolerance = {"fp32": 1e-4, "bf16": 3e-2}[precision]
    runs = {
        device: run_here(
            Run(str(tmp_path / device), {"workers": 1, "device": device}, precision=precision)
        )
        for device in ("cpu", "cuda")
    }
    assert runs["cuda"].data == runs["cpu"].data
    assert runs["cuda"].losses == pytest.approx(runs["cpu"].losses, abs=tolerance)
