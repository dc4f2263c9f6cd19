"""llama.cpp's prefill and decode speed on a random Llama of a given shape.

PYTHON llama_speed.py SIZES_JSON FOLDER THREADS PROMPT NEW BATCH [BATCH ...]

Runs in the peers' environment (llama-cpp-python, gguf). Writes the model in F16, packs it to
Q4_0 as llama.cpp's own ``quantize`` does, and measures as its ``batched-bench`` does: the
prompts of all sequences at once, then steps of one token for each. Only ``llama_decode`` is
timed; choosing tokens is not.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import gguf
import llama_cpp as api
import numpy as np

REPEATS = 3
LAYER = {
    "attn_q": ("hidden_size", "hidden_size"),
    "attn_k": ("kv", "hidden_size"),
    "attn_v": ("kv", "hidden_size"),
    "attn_output": ("hidden_size", "hidden_size"),
    "ffn_gate": ("intermediate_size", "hidden_size"),
    "ffn_up": ("intermediate_size", "hidden_size"),
    "ffn_down": ("hidden_size", "intermediate_size"),
}


def write_f16(sizes: dict[str, Any], path: Path) -> None:
    """A random model without a tokenizer, output projection tied to the embedding."""
    rng = np.random.default_rng(0)
    head = sizes["hidden_size"] // sizes["num_attention_heads"]
    sizes = {**sizes, "kv": head * sizes["num_key_value_heads"]}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(sizes["max_position_embeddings"])
    writer.add_embedding_length(sizes["hidden_size"])
    writer.add_block_count(sizes["num_hidden_layers"])
    writer.add_feed_forward_length(sizes["intermediate_size"])
    writer.add_head_count(sizes["num_attention_heads"])
    writer.add_head_count_kv(sizes["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(sizes["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = rng.standard_normal((rows, columns), dtype=np.float32) * 0.02
        writer.add_tensor(f"{name}.weight", values.astype(np.float16))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(sizes["hidden_size"], dtype=np.float32))

    matrix("token_embd", sizes["vocab_size"], sizes["hidden_size"])
    ones("output_norm")
    for layer in range(sizes["num_hidden_layers"]):
        ones(f"blk.{layer}.attn_norm")
        ones(f"blk.{layer}.ffn_norm")
        for name, (rows, columns) in LAYER.items():
            matrix(f"blk.{layer}.{name}", sizes[rows], sizes[columns])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pack_q4_0(source: Path, target: Path, threads: int) -> None:
    """The same model in Q4_0."""
    params = api.llama_model_quantize_default_params()
    params.nthread = threads
    params.ftype = api.LLAMA_FTYPE_MOSTLY_Q4_0
    if api.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        raise SystemExit(f"{source}: could not be quantised")


def speeds(
    path: Path, batches: list[int], threads: int, prompt: int, new: int, vocabulary: int
) -> dict[str, dict[str, float]]:
    """Tokens per second by batch, the best of some runs each."""
    model = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
    if not model:
        raise SystemExit(f"{path}: could not be loaded")
    results = {}
    for count in batches:
        params = api.llama_context_default_params()
        params.n_ctx = count * 256
        params.n_batch = 2048
        params.n_seq_max = count
        params.n_threads = params.n_threads_batch = threads
        context = api.llama_init_from_model(model, params)
        runs = [_run(context, count, prompt, new, vocabulary) for _ in range(REPEATS + 1)][1:]
        results[str(count)] = {
            "prefill": max(count * prompt / first for first, _ in runs),
            "decode": max(count * (new - 1) / rest for _, rest in runs),
            "whole": max(count * new / (first + rest) for first, rest in runs),
        }
        api.llama_free(context)
    api.llama_model_free(model)
    return results


def _run(context: Any, count: int, prompt: int, new: int, vocabulary: int) -> tuple[float, float]:
    """Seconds of the prompts and of the steps after the first token."""
    rng = np.random.default_rng(1)
    api.llama_memory_clear(api.llama_get_memory(context), True)
    tokens = rng.integers(vocabulary, size=(count, prompt + new))
    places = [(s, p) for s in range(count) for p in range(prompt)]
    first = 0.0
    for start in range(0, len(places), 2048):
        first += _decode(context, tokens, places[start : start + 2048], prompt - 1)
    rest = 0.0
    for step in range(new - 1):
        position = prompt + step
        rest += _decode(context, tokens, [(s, position) for s in range(count)], position)
    return first, rest


def _decode(context: Any, tokens: Any, places: list[tuple[int, int]], wanted: int) -> float:
    batch = api.llama_batch_init(len(places), 0, 1)
    batch.n_tokens = len(places)
    for row, (sequence, position) in enumerate(places):
        batch.token[row] = int(tokens[sequence, position])
        batch.pos[row] = position
        batch.n_seq_id[row] = 1
        batch.seq_id[row][0] = sequence
        batch.logits[row] = position == wanted
    started = time.perf_counter()
    failed = api.llama_decode(context, batch)
    api.llama_synchronize(context)
    seconds = time.perf_counter() - started
    api.llama_batch_free(batch)
    if failed:
        raise SystemExit(f"llama_decode: {failed}")
    return seconds


def main() -> None:
    sizes = json.loads(sys.argv[1])
    folder = Path(sys.argv[2])
    threads, prompt, new, *batches = map(int, sys.argv[3:])
    api.llama_backend_init()
    f16, q4 = folder / "f16.gguf", folder / "q4_0.gguf"
    write_f16(sizes, f16)
    pack_q4_0(f16, q4, threads)
    said = {
        kind: speeds(path, batches, threads, prompt, new, sizes["vocab_size"])
        for kind, path in (("q4_0", q4), ("f16", f16))
    }
    said["system"] = api.llama_print_system_info().decode()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
