import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from contracts.conversation import Conversation
from tests.trainer.inputs import conversation
from trainer.data.conversations import load_conversations, load_rendered, save_rendered
from trainer.data.packing import PackedRows, held_out
from trainer.data.render import UnusableConversation, render
from trainer.losses.cross_entropy import IGNORE
from trainer.models.llama import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path):
    return load_tokenizer(tokenizer_dir)


def sums(count: int) -> list[Conversation]:
    chance = np.random.default_rng()
    return [
        Conversation.model_validate(conversation(i, *map(int, chance.integers(0, 100, 2))))
        for i in range(count)
    ]


def test_only_what_the_assistant_writes_is_trained(tokenizer):
    (item,) = sums(1)
    rendered = render(item, tokenizer)
    trained = tokenizer.decode(rendered.ids[rendered.trained])
    a_plus_b = json.loads(item.messages[1].tool_calls[0].function.arguments)["expression"]
    answer = item.messages[3].content
    assert trained == (
        '<tool_call>{"name": "calculator", "arguments": {"expression": "' + a_plus_b + '"}}'
        f"</tool_call><|im_end|>{answer}<|im_end|>"
    )
    rest = tokenizer.decode(rendered.ids[~rendered.trained])
    assert "What is" in rest
    assert "Tools:" in rest
    assert rest.count("<|im_start|>assistant") == 2


def test_nothing_to_train_on_is_refused(tokenizer):
    silent = Conversation.model_validate(
        {"id": "x", "messages": [{"role": "user", "content": "Hello?"}]}
    )
    with pytest.raises(UnusableConversation, match="no assistant token"):
        render(silent, tokenizer)
    late_system = Conversation.model_validate(
        {"id": "x", "messages": [{"role": r, "content": "a"} for r in ("user", "system")]}
    )
    with pytest.raises(UnusableConversation, match="chat template"):
        render(late_system, tokenizer)


@pytest.mark.parametrize("place", ["content", "arguments", "description", "properties"])
@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<tool_call>"])
def test_spelled_control_tokens_are_refused(tokenizer, place: str, token: str):
    """Serving encodes them as text; trained on, they would close the turn."""
    raw = json.loads(json.dumps(conversation(1, 2, 3)))
    call = raw["messages"][1]["tool_calls"][0]["function"]
    spot = {
        "content": raw["messages"][0],
        "arguments": call,
        "description": raw["tools"][0]["function"],
        "properties": raw["tools"][0]["function"]["parameters"],
    }[place]
    if isinstance(spot[place], str):
        spot[place] += f" {token}"
    else:
        spot[place][f"a {token}"] = {"type": "string"}
    with pytest.raises(UnusableConversation, match="control token"):
        render(Conversation.model_validate(raw), tokenizer)


def test_rendering_agrees_with_serving(tokenizer, tokenizer_dir: Path):
    from serving.tokenizer import ChatTokenizer

    served = ChatTokenizer.load(tokenizer_dir)
    (item,) = sums(1)
    prompt = served.render(item.messages[:3], item.tools)
    assert render(item, tokenizer).ids[: len(prompt)].tolist() == prompt


def test_bad_records_are_set_aside_with_line_and_reason(tokenizer, tmp_path: Path):
    path = tmp_path / "conversations.jsonl"
    good = [item.to_json() for item in sums(2)]
    long = conversation(7, 1, 2)
    long["messages"][0]["content"] = "word " * 400
    bad = ["{", '{"id": "a"}', json.dumps(long), "\ufffd"]
    path.write_text("\n".join([good[0], bad[0], "", bad[1], good[1], bad[2]]) + "\n")
    found = load_conversations([("here", path)], tokenizer, 200)
    assert len(found.rendered) == 2
    assert [(item["line"], item["id"]) for item in found.rejected] == [
        (2, ""),
        (4, ""),
        (6, "sum/7"),
    ]
    assert "messages" in found.rejected[1]["reason"]
    assert "row_length is 200" in found.rejected[2]["reason"]


def test_rendered_conversations_survive_the_file(tokenizer, tmp_path: Path):
    before = [render(item, tokenizer) for item in sums(4)]
    save_rendered(tmp_path / "r.npz", before)
    after = load_rendered(tmp_path / "r.npz")
    for one, other in zip(before, after, strict=True):
        assert (one.id, one.source) == (other.id, other.source)
        assert (one.ids == other.ids).all()
        assert (one.trained == other.trained).all()


def test_packing_keeps_every_conversation_whole_and_once(tokenizer):
    rendered = [render(item, tokenizer) for item in sums(40)]
    rows = PackedRows(
        rendered, row_length=256, seed=4, pad_id=0, validation_share=0.2, validation_rows=99
    )
    wanted = Counter(tuple(item.ids) for item in rendered if not held_out(item.id, 0.2))
    for epoch in (0, 1, 3):
        found: Counter[tuple[int, ...]] = Counter()
        for k in range(epoch * len(rows), (epoch + 1) * len(rows)):
            found.update(conversations_of(rows.row(k)))
        assert found == wanted
    held = Counter(
        text
        for part in rows.validation().values()
        for row in part
        for text in conversations_of(row)
    )
    assert held == Counter(tuple(item.ids) for item in rendered if held_out(item.id, 0.2))


def conversations_of(row) -> list[tuple[int, ...]]:
    """What was packed, by segment; labels must be the next inputs of the same segment."""
    found = []
    for segment in np.unique(row.segments):
        mine = row.segments == segment
        ids, labels = row.inputs[mine], row.labels[mine]
        kept = labels != IGNORE
        assert not kept[-1]
        if kept.any():
            assert (labels[:-1][kept[:-1]] == ids[1:][kept[:-1]]).all()
            found.append(tuple(ids))
    return found


def test_the_order_is_pure_in_k_and_differs_by_epoch_and_seed(tokenizer):
    rendered = [render(item, tokenizer) for item in sums(60)]

    def rows(seed: int) -> PackedRows:
        return PackedRows(
            rendered, row_length=256, seed=seed, pad_id=0, validation_share=0, validation_rows=1
        )

    one, other = rows(1), rows(1)
    count = len(one)
    forward = [one.row(k).inputs.tobytes() for k in range(2 * count)]
    backward = [other.row(k).inputs.tobytes() for k in reversed(range(2 * count))]
    assert forward == backward[::-1]
    assert forward[:count] != forward[count:]
    assert forward[:count] != [rows(2).row(k).inputs.tobytes() for k in range(count)]


def test_no_conversation_left_is_an_error():
    with pytest.raises(ValueError, match="no conversation"):
        PackedRows([], row_length=8, seed=0, pad_id=0, validation_share=0, validation_rows=1)
