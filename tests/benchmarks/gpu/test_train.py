"""The GPU benchmark's own accounts, small and on a CPU."""

import pytest
import torch

from benchmarks.gpu.train import CASES, NoTokenizer, measure, planned, shape_of
from trainer.models.build import hf_config


def test_a_small_case_runs_on_a_cpu():
    found = measure(CASES["tiny"], torch.device("cpu"), steps=2, compiled=False)
    tokens = 2 * 2 * 128
    assert found["tokens_per_second"] == pytest.approx(tokens / found["seconds"])
    assert 0 < found["mfu"] < 1


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_is_counted_as_its_model_is(name: str):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config(shape_of(CASES[name]), 0, NoTokenizer()))
    assert planned(CASES[name], model).parameters > 1e4
