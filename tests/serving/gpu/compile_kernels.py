"""Compiles every kernel for NVIDIA chips, on a machine that needs none; prints what came out.

python -m tests.serving.gpu.compile_kernels CAPABILITY...
"""

import json
import re
import subprocess
import sys
import tempfile

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from serving.gpu.decode_kernel import join_kernel, part_kernel
from serving.gpu.encode_kernel import encode_kernel
from serving.gpu.int4_kernel import row_kernel, rows_kernel, widen_kernel
from serving.gpu.layer_kernel import add_norm_kernel, gated_kernel, rotate_kernel

NUMBERS = {
    "factor": "fp32", "row_stride": "i32", "head_stride": "i32", "table_stride": "i32",
    "token_stride": "i32", "kind_stride": "i32", "kv_heads": "i32", "rows": "i32",
    "outs": "i32", "count": "i32", "epsilon": "fp32",
}  # fmt: skip
WIDE_LOADS = ("ld.global.v4", "ld.global.L1::evict_normal.v4", "cp.async.cg")
"""Loads of 16 bytes."""
BF16, F32, U8, I64 = "*bf16", "*fp32", "*u8", "*i64"
DECODE = dict(queries=BF16, tables=I64, lengths=I64, parts=F32, stats=F32, out=BF16)
CODES = dict(fresh=BF16, places=I64, codes="*i8", scales=F32, zeros=F32)
LAYER = dict.fromkeys(("hidden", "added", "weight", "heads", "cos", "sin", "both", "out"), BF16)
WEIGHTS = dict(x=BF16, codes=U8, scales=BF16, zeros=BF16, parts=F32, out=BF16)
HEADS = dict(GROUP=4, GROUP_PAD=16, SIZE=128, SIZE_PAD=128, BLOCK=32, TILE=64)
BFLOAT16 = triton.language.bfloat16
CASES = {
    "decode": (
        part_kernel, {**DECODE, "values": BF16},
        dict(scales=None, zeros=None, **HEADS, SPLITS=8, INT8=False, DOT=BFLOAT16), 3,
    ),
    "decode int8": (
        part_kernel, {**DECODE, "values": "*i8", "scales": F32, "zeros": F32},
        dict(**HEADS, SPLITS=1, INT8=True, DOT=BFLOAT16), 3,
    ),
    "decode join": (
        join_kernel, dict(parts=F32, stats=F32, out=BF16),
        dict(SIZE=128, SIZE_PAD=128, SPLITS=16), 3,
    ),
    "int4 row": (
        row_kernel, WEIGHTS,
        dict(bias=None, HALF=2048, GROUP=128, OUTS=8, TILE=512, BIAS=False), 3,
    ),
    "int4 rows": (
        rows_kernel, WEIGHTS,
        dict(HALF=2048, GROUP=128, ROWS=16, OUTS=32, SPLITS=4, DOT=BFLOAT16), 4,
    ),
    "encode": (encode_kernel, CODES, dict(SIZE=128, SIZE_PAD=128), 3),
    "add and norm": (add_norm_kernel, LAYER, dict(SIZE=4096, SIZE_PAD=4096, ADD=True), 3),
    "rotate": (rotate_kernel, LAYER, dict(HALF=64, HALF_PAD=64, TILE=4), 3),
    "gated": (gated_kernel, LAYER, dict(SIZE=11008, TILE=1024), 3),
    "int4 widen": (widen_kernel, WEIGHTS, dict(HALF=2048, GROUP=64, OUTS=4, TILE=512), 3),
}  # fmt: skip


def compiled(kernel: JITFunction, types: dict, constants: dict, stages: int, chip: int) -> dict:
    """What one kernel became."""
    signature = {
        name: "constexpr" if name in constants else types.get(name) or NUMBERS[name]
        for name in kernel.arg_names
    }
    # Pointers are aligned to 16 bytes, as torch's allocations are.
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
    }
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget("cuda", chip, 32)
    made = triton.compile(source, target, {"num_warps": 4, "num_stages": stages})
    ptx = made.asm["ptx"]
    return {
        "bytes": len(made.asm["cubin"]),
        "shared": made.metadata.shared,
        "spilled": local_memory(made.asm["cubin"]),
        "tensor_cores": "mma" in ptx,
        "wide_loads": any(load in ptx for load in WIDE_LOADS),
    }


def local_memory(cubin: bytes) -> int:
    """Bytes of memory per thread, which is where registers go that do not fit."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (stack,) = re.findall(r"STACK:(\d+)", told)
    return int(stack)


if __name__ == "__main__":
    for chip in map(int, sys.argv[1:]):
        for name, (kernel, types, constants, stages) in CASES.items():
            found = compiled(kernel, types, constants, stages, chip)
            print(json.dumps({"chip": chip, "kernel": name, **found}), flush=True)
