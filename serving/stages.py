"""The stages of the serving room."""

from clusters.stage import Input, Requirements, Stage
from serving.quant.config import QuantizeConfig
from serving.quant.stage import run_quantize

STAGES = [
    Stage(
        name="serving.quantize",
        config=QuantizeConfig,
        output="quantized",
        run=run_quantize,
        version=3,
        inputs={
            "model": Input(("checkpoint",)),
            "calibration": Input(("tokens",), optional=True),
        },
        requires=lambda config: Requirements(cpus=1, memory_bytes=2 << 30),
        needs_ray=False,
    )
]
