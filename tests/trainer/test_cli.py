import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact
from clusters.config import ConfigError
from tests.trainer.inputs import Inputs, run_sft
from trainer.cli import app


def render(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["render", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_file_with_its_tokenizer(inputs: Inputs, tokenizer_dir: Path):
    path = inputs.conversations.path("conversations.jsonl")
    found = json.loads(render(path, "--tokenizer", tokenizer_dir, "-n", 2, "--json"))
    assert [item["id"] for item in found] == ["sum/0", "sum/1"]
    for item in found:
        trained = [span["text"] for span in item["spans"] if span["trained"]]
        assert len(trained) == 2
        assert trained[0].startswith("<tool_call>")
        assert all(text.endswith("<|im_end|>") for text in trained)
        assert 0 < item["loss_tokens"] < item["tokens"]
    by_artifact = render(
        inputs.conversations.directory, "--tokenizer", inputs.tokenizer.directory, "-n", 2, "--json"
    )
    assert json.loads(by_artifact) == found
    text = render(path, "--tokenizer", tokenizer_dir, "-n", 1)
    assert "What is" in text
    assert f"{found[0]['loss_tokens']} of {found[0]['tokens']} tokens" in text


def test_a_tuned_checkpoint_leads_to_its_conversations(inputs: Inputs, base: Artifact):
    store = inputs.conversations.directory.parent.parent
    tuned = run_sft(base, inputs.conversations, store, workers=1, epochs=0.2)
    assert json.loads(render(tuned.directory, "-n", 1, "--json"))[0]["id"] == "sum/0"


@pytest.mark.parametrize("missing", ["tokenizer", "file", "conversations"])
def test_what_is_missing_is_named(
    inputs: Inputs, base: Artifact, tokenizer_dir: Path, missing: str
):
    arguments = {
        "tokenizer": [inputs.conversations.path("conversations.jsonl")],
        "file": ["no/such/place", "--tokenizer", tokenizer_dir],
        "conversations": [base.directory],
    }[missing]
    message = {
        "tokenizer": "--tokenizer: missing",
        "file": "neither an artifact nor",
        "conversations": r"made by trainer\.pretrain",
    }[missing]
    with pytest.raises(ConfigError, match=message):
        render(*arguments)
