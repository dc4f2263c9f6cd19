"""Speed of transformers' own continuous batching.

python -m benchmarks.serving.processes.continuous JSON
"""

import json

from benchmarks.serving.processes.asked import Asked, asked
from benchmarks.serving.processes.generate import load, timed


def speed(question: Asked) -> float:
    """New tokens per second, prompts included in the time."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    model = load(question)
    wanted = GenerationConfig(
        max_new_tokens=question.new, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    cache = ContinuousBatchingConfig(page_size=256, num_blocks=64, max_batch_tokens=512)
    return timed(
        lambda: model.generate_batch(
            question.prompts(), generation_config=wanted, continuous_batching_config=cache
        ),
        question,
    )


if __name__ == "__main__":
    print(json.dumps({"whole": speed(asked())}))
