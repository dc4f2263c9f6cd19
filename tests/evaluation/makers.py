"""Makers of small real artifacts: tokenizer, token stores, questions, models, episodes."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact, ArtifactWriter
from contracts.manifest import Parent, fingerprint
from contracts.token_store import TokenStoreMeta

WORDS = [
    *("the", "a", "value", "array", "list", "returns", "sets", "given", "index", "file"),
    *("path", "of", "to", "and", "with", "for", "key"),
]
NAMES = ["open", "close", "read", "write", "merge", "split", "sort", "count", "load", "save"]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(5, 9))).capitalize() + "."


def make_artifact(
    store: Path,
    kind: str,
    stage: str,
    write: Callable[[ArtifactWriter], Any],
    parents: list[Parent] | None = None,
    salt: str = "",
) -> Artifact:
    """Commit an artifact whose files ``write`` makes."""
    parents = parents or []
    config = {"salt": salt}
    wanted = fingerprint(stage, 1, config, parents)
    out = ArtifactWriter.begin(store, kind, wanted)
    stats = write(out) or {}
    return out.commit(
        kind=kind, stage=stage, version=1, fingerprint=wanted, config=config,
        parents=parents, external=[], stats=stats, seconds=1.5,
    )  # fmt: skip


def save_tokenizer(folder: Path) -> None:
    """A byte-level BPE with the chat template."""
    from corpus.tokenizer import save_tokenizer as save
    from corpus.tokenizer import train_tokenizer

    rng = random.Random(5)
    texts = [sentence(rng) for _ in range(200)]
    texts += [f"What does `{name}` do? Answer with the letter." for name in NAMES]
    texts += ["What is 1 + 2? calculator(expression): Work out an arithmetic expression."]
    texts += ['{"name": "calculator", "arguments": {"expression": "1 + 2"}}'] * 3
    save(train_tokenizer(texts, 600), folder, "chatml", 512)


def save_model(folder: Path, seed: int) -> None:
    """A random Llama of some hundred thousand parameters, with the tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_tokens(out: ArtifactWriter, tokenizer_folder: Path) -> None:
    """Token stores of two domains, uids below 1000 for train and from 1000 for validation."""
    from corpus.token_store.writer import ShardWriter, write_meta
    from corpus.tokenizer import end_of_text_id, load_backend

    tokenizer = load_backend(tokenizer_folder)
    size, eos = tokenizer.get_vocab_size(), end_of_text_id(tokenizer)
    rng = random.Random(7)
    for split, first_uid in (("train", 0), ("validation", 1000)):
        folder = f"tokens/{split}"
        shards = []
        for index, domain in enumerate(("docs", "docstrings")):
            files = [out.path(f"{folder}/shard-{index:05d}.{end}") for end in ("tok", "doc", "uid")]
            writer = ShardWriter(f"shard-{index:05d}", domain, *files, size, eos)
            for number in range(30):
                text = " ".join(sentence(rng) for _ in range(rng.randint(1, 12)))
                writer.add(first_uid + index * 100 + number, tokenizer.encode(text).ids)
            shards.append(writer.close())
        meta = TokenStoreMeta(
            dtype="uint16", tokenizer_blake3="0" * 64, vocab_size=size, eos_id=eos, shards=shards
        )
        write_meta(out.path(f"{folder}/store.json"), meta)


def make_questions(count: int, seed: int, first_uid: int = 1000) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        choices = [f"{sentence(rng)[:-1]} {index} {i}." for i in range(4)]
        question = f"What does `pkg{index}.{rng.choice(NAMES)}` do?"
        rows.append(
            {"id": f"q{index}", "uid": first_uid + index % 30, "question": question,
             "choices": choices, "answer": rng.randrange(4)}
        )  # fmt: skip
    return rows


def write_questions(out: ArtifactWriter, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row) + "\n" for row in rows]
    out.path("questions.jsonl").write_text("".join(lines))
    out.path("conversations.jsonl").write_text("")


def write_corpus(out: ArtifactWriter) -> None:
    """A few documents and rejects, with the ledger that counts them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from contracts.documents import REJECTED, documents_schema
    from corpus.ledger import STEPS, Ledger, Tally, kept
    from corpus.value.report import ClassifierReport

    rng = random.Random(9)
    tally = Tally()
    documents, rejected = [], []
    for uid in range(60):
        source, text = rng.choice(["docs", "docstrings"]), sentence(rng)
        failed = rng.choice(["rules", "dedup"]) if uid % 5 == 0 else None
        reason = f"{failed}.bad <b>$x$"
        for step in STEPS[: STEPS.index(failed) + 1 if failed else None]:
            tally.add(step, reason if step == failed else "", source, "en", len(text))
        if failed:
            rejected.append(
                {"uid": uid, "id": f"doc/{uid}", "stage": failed, "reason": reason, "score": 0.1}
            )
            continue
        split = "validation" if uid % 7 == 0 else "train"
        tally.add("kept", split, source, "en", len(text))
        documents.append(
            {"uid": uid, "split": split, "id": f"doc/{uid}", "source": source, "text": text,
             "lang": "en", "dup_count": 1, "cluster": uid}
        )  # fmt: skip
    quality = ClassifierReport(name="quality", heldout_auc=0.9)
    ledger = Ledger(
        steps=tally.steps(), kept=kept(tally), classifiers=[quality], bad_records=2, bad_share=0.01
    )
    out.path("ledger.json").write_text(ledger.model_dump_json())
    tables = (("documents", documents, documents_schema()), ("rejected", rejected, REJECTED))
    for name, rows, schema in tables:
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, out.path(f"{name}/part-00000.parquet"))


def write_metrics(out: ArtifactWriter, start: float, end: float) -> None:
    """Curves that fall, as the trainer writes them."""
    rows: list[dict[str, Any]] = []
    for step in range(0, 101, 2):
        loss = end + (start - end) * 0.95**step
        if step % 20 == 0:
            losses = {"docs": loss + 0.1, "docstrings": loss}
            rows.append({"step": step, "samples": step * 8, "validation": losses})
        rows.append({"step": step, "samples": step * 8, "loss": loss, "lr": 1e-3, "grad_norm": 1.0})
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    out.path("metrics.jsonl").write_text(text)


def write_trajectories(out: ArtifactWriter) -> None:
    """Episodes that the agents room plays with a scripted policy, a third of them wrong."""
    import pyarrow.parquet as pq

    from agents.demonstrate import Expert
    from agents.environments.arithmetic import AnswerGrader, problems
    from agents.episode import EpisodeKey, turns
    from agents.protocols.react import react
    from agents.tools.registry import TOOLS
    from contracts.conversation import Message
    from contracts.trajectory import to_table

    rows = []
    played = problems("validation", 12, seed=1)
    for index, problem in enumerate(played):
        solved = played[(index + 1) % 12] if index % 3 == 0 else problem
        question = [Message(role="user", content=problem.question)]
        steps = list(react(question, Expert(solved), TOOLS))
        reward = AnswerGrader(problem)(list(steps[-1].after))
        rows += turns(EpisodeKey("test", problem.id), steps, reward)
    pq.write_table(to_table(rows), out.path("trajectories.parquet"))
