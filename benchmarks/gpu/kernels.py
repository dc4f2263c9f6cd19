"""Each kernel of the engine beside what torch offers for the same, on one GPU.

    python -m benchmarks.gpu.kernels
    TRITON_INTERPRET=1 python -m benchmarks.gpu.kernels --small --device cpu   # a try on a CPU

Decode attention beside gathering the pages and scaled_dot_product_attention; 4-bit products
beside torch's own 4-bit kernel and bf16 (cuBLAS). Medians of CUDA events over weights and caches
larger than the GPU's caches. Needs torch with CUDA and Triton.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu.models import packed_linear
from benchmarks.report import keep
from serving.engine.cache import CacheShape, Int8Cache, PagedCache
from serving.gpu.int4 import int4_linear
from serving.gpu.paged_decode import PagedRows, paged_decode, splits_for
from serving.quant.rounding import Packed, unpack

BLOCK = 32
Timings = dict[str, dict[str, float]]


def timed(work: Callable[[int], Any], device: torch.device, repeats: int) -> float:
    """Microseconds of a call; ``work`` is told which copy of its operands to use."""
    for i in range(3):
        work(i)
    times = []
    for i in range(repeats):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work(i)
            end.record()
            end.synchronize()
            times.append(1e3 * start.elapsed_time(end))
        else:
            started = time.perf_counter()
            work(i)
            times.append(1e6 * (time.perf_counter() - started))
    return median(times)


def attention(device: torch.device, small: bool, repeats: int) -> Timings:
    """Decode attention by rows, tokens and heads."""
    cases = [(1, 100, 2, 2)] if small else [
        (1, 2048, 32, 32), (1, 32768, 32, 8), (8, 2048, 32, 8), (64, 1024, 32, 32),
        (64, 4096, 32, 8),
    ]  # fmt: skip
    size = 16 if small else 128
    found: Timings = {}
    for rows, tokens, heads, kv_heads in cases:
        blocks = -(-tokens // BLOCK)
        shape = CacheShape(1, rows * blocks + 1, BLOCK, kv_heads, size)
        dtype = torch.bfloat16
        caches = PagedCache(shape, dtype, device), Int8Cache(shape, device)
        places = torch.arange((rows * blocks + 1) * BLOCK, device=device)
        fresh = torch.randn(len(places), 2, kv_heads, size, device=device).to(dtype)
        for cache in caches:
            cache.write(0, places, fresh)
        order = torch.randperm(rows * blocks, device=device).reshape(rows, blocks) + 1
        lengths = torch.full((rows,), tokens, device=device)
        splits = splits_for(rows, kv_heads, tokens, device)
        where = PagedRows(order, lengths, BLOCK, splits)
        queries = torch.randn(rows, heads, size, device=device).to(dtype)
        plain, codes = (cache.pages(0) for cache in caches)
        at = (order[..., None] * BLOCK + torch.arange(BLOCK, device=device)).reshape(-1)

        def gathered(
            _: int,
            cache: Any = caches[0],
            at: torch.Tensor = at,
            queries: torch.Tensor = queries,
            tokens: int = tokens,
        ) -> torch.Tensor:
            both = cache.gather(0, at).values.unflatten(0, (len(queries), -1))
            keys, values = both[:, :tokens].permute(2, 0, 3, 1, 4)
            return functional.scaled_dot_product_attention(
                queries[:, :, None], keys, values, enable_gqa=True
            )

        def ours(pages: Any, queries: Any = queries, where: Any = where) -> Callable[[int], Any]:
            return lambda _: paged_decode(queries, pages, where, queries.shape[-1] ** -0.5)

        wide = ours(plain)(0).float() - gathered(0)[:, :, 0].float()
        assert wide.abs().max() < 0.05, "the kernel and torch differ"
        microseconds = {
            "bf16": timed(ours(plain), device, repeats),
            "int8": timed(ours(codes), device, repeats),
            "torch": timed(gathered, device, repeats),
        }
        read = rows * tokens * 2 * kv_heads * size * 2
        microseconds["bf16 GB/s"] = read / microseconds["bf16"] / 1e3
        case = f"{rows} rows of {tokens}, {heads}/{kv_heads} heads"
        found[case] = _said("attention", case, microseconds)
    return found


def products(device: torch.device, small: bool, repeats: int) -> Timings:
    """4-bit products by rows of activations, over two layers of a 7B shape."""
    shapes = [(96, 64)] if small else [(12288, 4096), (4096, 11008)]
    group = 32 if small else 128
    found: Timings = {}
    for outs, ins in shapes:
        weights = [torch.randn(outs, ins, device=device).bfloat16() for _ in range(4)]
        layers = [packed_linear(weight, group) for weight in weights]
        packs = [
            Packed(*(layer.get_buffer(n) for n in ("codes", "scales", "zeros"))) for layer in layers
        ]
        tiles = _all_tiles(packs) if device.type == "cuda" else []
        for rows in (1, 3) if small else (1, 2, 8, 16, 64, 512):
            x = torch.randn(rows, ins, device=device).bfloat16()
            work: dict[str, Callable[[int], Any]] = {
                "int4": lambda i, x=x, packs=packs: int4_linear(x, packs[i % 4], None),
                "bf16": lambda i, x=x, weights=weights: functional.linear(x, weights[i % 4]),
            }
            if tiles:
                work["torch int4"] = lambda i, x=x, tiles=tiles: torch.ops.aten._weight_int4pack_mm(
                    x, tiles[i % 4][0], group, tiles[i % 4][1]
                )
            microseconds = {name: timed(each, device, repeats) for name, each in work.items()}
            case = f"{rows} x {ins} -> {outs}"
            found[case] = _said("int4", case, microseconds)
    return found


def _said(name: str, case: str, microseconds: dict[str, float]) -> dict[str, float]:
    """A case's times, printed as soon as they are there."""
    told = ", ".join(f"{kind} {value:.1f}" for kind, value in microseconds.items())
    print(f"{name}: {case}: {told}", flush=True)
    return microseconds


def _all_tiles(packs: list[Packed]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """``_torch_int4`` of each; none where this torch takes another form of them."""
    try:
        return [_torch_int4(each) for each in packs]
    except RuntimeError as error:
        print(f"int4: torch's own kernel: {error}", flush=True)
        return []


def _torch_int4(packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    """The same weights as torch's kernel for GPUs takes them."""
    codes = unpack(packed.codes).to(torch.uint8)
    # Here it wants the even input in the high half of a byte.
    tiles = torch.ops.aten._convert_weight_to_int4pack(codes[:, 0::2] << 4 | codes[:, 1::2], 8)
    pairs = torch.stack((packed.scales, packed.zeros), dim=2).transpose(0, 1).contiguous()
    return tiles, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; TRITON_INTERPRET=1 with --small --device cpu tries it")
    runs = device, options.small, options.repeats
    for name, work in (("attention", attention), ("int4", products)):
        found = work(*runs)  # kept before the next begins
        if device.type == "cuda":
            _keep(name, found, torch.cuda.get_device_name(device))


def _keep(name: str, found: Timings, gpu: str) -> None:
    """The case in which we do worst, and all of them."""
    ours, theirs = ("bf16", "torch") if name == "attention" else ("int4", "bf16")
    worst = min(found, key=lambda case: found[case][theirs] / found[case][ours])
    ratio = found[worst][theirs] / found[worst][ours]
    keep(
        f"gpu-kernels-{name}",
        what=f"{name} kernel, slowest case against torch: {worst}, one {gpu}",
        ours=round(found[worst][ours], 1),
        unit="us",
        peer="torch: gather and SDPA" if name == "attention" else "torch in bf16",
        theirs=round(found[worst][theirs], 1),
        ratio=round(ratio, 2),
        goal=">= 1",
        met=ratio >= 1,
        device=gpu,
        microseconds=found,
    )


if __name__ == "__main__":
    main()
