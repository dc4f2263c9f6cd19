"""Peak FLOP/s of the device that a rank computes on."""

import time

import torch

from trainer.plan.hardware import find_gpu

_SIDE = 1024
_SECONDS = 0.15


def peak_flops(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """Peak FLOP/s of one device, and where the figure is from.

    A GPU's is that of its data sheet, in the plan's table; the table has the dense bf16 (fp16)
    figure, which fp32 training is held against too. A CPU, and a GPU that the table does not
    know, is measured: the best product of two 1024 x 1024 matrices, on this rank's threads.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        gpu = find_gpu(name)
        if gpu is not None:
            return gpu.peak_flops, gpu.source
    return _measured(device, dtype), f"measured: {_SIDE} x {_SIDE} products in {dtype}"


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    left = torch.randn(_SIDE, _SIDE, device=device).to(dtype)
    out = torch.empty_like(left)
    best, until = float("inf"), time.monotonic() + _SECONDS
    runs = 0
    while runs < 3 or time.monotonic() < until:
        started = time.perf_counter()
        torch.mm(left, left, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
        runs += 1
    return 2 * _SIDE**3 / best
