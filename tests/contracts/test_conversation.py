import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.conversation import (
    Conversation,
    FunctionCall,
    Message,
    ToolCall,
    chat_template,
    read_conversations,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(ToolCall, id=TEXT, function=st.builds(FunctionCall, name=TEXT, arguments=TEXT))
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.none() | TEXT,
    tool_calls=st.none() | st.lists(CALLS, max_size=3),
    tool_call_id=st.none() | TEXT,
    name=st.none() | TEXT,
)
CONVERSATIONS = st.builds(
    Conversation,
    id=TEXT,
    messages=st.lists(MESSAGES, min_size=1, max_size=4),
    tools=st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=2),
    source=TEXT,
    uid=st.none() | st.integers(0, 2**64 - 1),
)


@given(CONVERSATIONS)
def test_json_round_trip(conversation: Conversation) -> None:
    line = conversation.to_json()
    assert "\n" not in line
    assert Conversation.model_validate_json(line) == conversation


@given(MESSAGES)
def test_a_message_survives_openai_dicts_without_absent_fields(message: Message) -> None:
    plain = message.to_openai()
    assert None not in plain.values()
    assert Message.model_validate(json.loads(json.dumps(plain))) == message


@given(st.lists(CONVERSATIONS, max_size=5))
def test_files_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("rows") / "conversations.jsonl"
    path.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    assert read_conversations(path) == rows


@given(CONVERSATIONS)
def test_same_conversation_same_bytes(conversation: Conversation) -> None:
    again = Conversation.model_validate(conversation.model_dump())
    assert again.to_json() == conversation.to_json()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "b", "messages": []}', "messages"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "id"),
        ('{"id": "b", "messages": [{"role": "robot"}]}', "messages.0.role"),
        ('{"id": "b", "messages": [{"role": "user", "text": "x"}]}', "messages.0.text"),
        ("not json", "line"),
        ("", "line"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    good = Conversation(id="a", messages=[Message(role="user", content="x")]).to_json()
    path = tmp_path / "conversations.jsonl"
    path.write_text(f"{good}\n{line}\n{good}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"conversations\.jsonl:2: {reason}"):
        read_conversations(path)


def test_an_unknown_template_names_those_there_are() -> None:
    assert "im_start" in chat_template("chatml")
    with pytest.raises(ValueError, match="chatml"):
        chat_template("chatlm")
