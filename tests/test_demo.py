"""What `make demo` must leave behind; `.ci/run` runs it first."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from clusters import runs
from contracts.documents import documents_schema

RUN = Path(__file__).parents[1] / "runs" / "demo"


@pytest.fixture(scope="module")
def record() -> runs.RunRecord:
    if not (RUN / runs.RUN_NAME).exists() or runs.load(RUN).status != "finished":
        pytest.skip("no finished demo here: run `make demo` first")
    return runs.load(RUN)


def test_every_stage_says_what_went_in_and_what_came_out(record: runs.RunRecord) -> None:
    assert len(record.stages) == 12
    for name, stage in record.stages.items():
        assert stage.fingerprint, name
        assert stage.seconds is not None, name
        assert stage.outputs, name


def test_at_least_ten_megabytes_of_documentation_are_kept(record: runs.RunRecord) -> None:
    assert record.stages["corpus"].outputs["bytes"] >= 10e6
    part = next((RUN / "corpus" / "documents").glob("part-*.parquet"))
    names = pq.read_schema(part).names
    assert set(documents_schema(["quality"]).names) <= set(names)


def validation(stage: str) -> list[dict[str, float]]:
    lines = (RUN / stage / "metrics.jsonl").read_text().splitlines()
    return [row["validation"] for row in map(json.loads, lines) if "validation" in row]


def held_out(model: str) -> float:
    summary = json.loads((RUN / "scores" / "summary.json").read_text())
    (figure,) = [
        row["mean"]
        for row in summary["results"]
        if (row["label"], row["metric"], row["group"]) == (model, "nats_per_token", "all")
    ]
    return figure


def test_validation_loss_falls_by_30_percent_and_below_a_unigram_model(
    record: runs.RunRecord,
) -> None:
    losses = validation("pretrain")
    first, last = (sum(row.values()) / len(row) for row in (losses[0], losses[-1]))
    assert last <= 0.7 * first
    assert held_out("pretrain") < held_out("unigram")


@pytest.mark.parametrize("model", ["sft", "quantized"])
def test_half_of_200_unseen_sums_get_a_right_calculator_call(
    record: runs.RunRecord, model: str
) -> None:
    summary = json.loads((RUN / "scores" / "summary.json").read_text())
    (row,) = [
        row
        for row in summary["results"]
        if (row["label"], row["benchmark"], row["metric"]) == (model, "arithmetic", "accuracy")
    ]
    assert row["n"] == 200
    assert row["mean"] >= 0.5


def test_the_checkpoint_loads_in_plain_transformers(record: runs.RunRecord) -> None:
    folder = RUN / "sft" / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert 5e6 <= model.num_parameters() <= 15e6
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 3 + 4?"}], return_tensors="pt", return_dict=True
    )
    out = model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert out.shape[1] > ids["input_ids"].shape[1]


def test_everything_is_as_its_manifest_says(record: runs.RunRecord) -> None:
    from clusters.show import verify

    assert verify(RUN) == []
