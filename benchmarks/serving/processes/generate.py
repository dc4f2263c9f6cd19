"""Speed of transformers' ``generate`` over one batch.

python -m benchmarks.serving.processes.generate JSON
"""

import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.serving.processes.asked import Asked, asked


def timed(work: Callable[[], Any], question: Asked) -> float:
    """New tokens per second of the best run."""
    seconds = []
    for _ in range(question.repeats + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return question.batch * question.new / min(seconds[1:])


def load(question: Asked) -> Any:
    """The model in bf16, on as many threads as asked for."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(question.threads)
    return AutoModelForCausalLM.from_pretrained(question.path, dtype=torch.bfloat16)


def speed(question: Asked) -> float:
    """New tokens per second, prompts included in the time."""
    import torch

    model = load(question)
    ids = torch.tensor(question.prompts())
    new = question.new
    wanted = dict(max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)
    mask = torch.ones_like(ids)
    return timed(lambda: model.generate(ids, attention_mask=mask, **wanted), question)


if __name__ == "__main__":
    print(json.dumps({"whole": speed(asked())}))
