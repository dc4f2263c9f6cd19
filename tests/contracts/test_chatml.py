"""The ChatML template: exact text, and the mask of what the assistant writes."""

import random
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from contracts.conversation import Conversation, FunctionCall, Message, ToolCall, chat_template

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "calculator",
            "description": "Evaluate arithmetic.\nExact.",
            "parameters": {
                "type": "object",
                "properties": {"expression": {"type": "string"}, "digits": {"type": "integer"}},
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time."}},
]


def message(role: str, content: str | None = None, **more: Any) -> dict[str, Any]:
    return Message(role=role, content=content, **more).to_openai()  # type: ignore[arg-type]


def call(expression: str) -> ToolCall:
    arguments = f'{{"expression": "{expression}"}}'
    return ToolCall(id="c1", function=FunctionCall(name="calculator", arguments=arguments))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator([Path(__file__).read_text()], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=bare)
    wrapped.chat_template = chat_template("chatml")
    return wrapped


EPISODE = [
    message("system", "Be brief."),
    message("user", "2+3?"),
    message("assistant", "Let me see.", tool_calls=[call("2+3")]),
    message("tool", "5", tool_call_id="c1"),
    message("assistant", "It is 5."),
    message("user", "Thanks."),
    message("assistant", "Bye."),
]
RENDERED = """<|im_start|>system
Be brief.
Tools:
calculator(expression, digits): Evaluate arithmetic. Exact.
now(): The time.<|im_end|>
<|im_start|>user
2+3?<|im_end|>
<|im_start|>assistant
Let me see.<tool_call>{"name": "calculator", "arguments": {"expression": "2+3"}}</tool_call>\
<|im_end|>
<|im_start|>tool
5<|im_end|>
<|im_start|>assistant
It is 5.<|im_end|>
<|im_start|>user
Thanks.<|im_end|>
<|im_start|>assistant
Bye.<|im_end|>
"""


def render(tokenizer: PreTrainedTokenizerFast, messages: list, **more: Any) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, **more)


def test_a_conversation_with_tools(tokenizer: PreTrainedTokenizerFast) -> None:
    assert render(tokenizer, EPISODE, tools=TOOLS) == RENDERED


def test_without_system_or_tools(tokenizer: PreTrainedTokenizerFast) -> None:
    text = render(tokenizer, [message("user", "Hi")], add_generation_prompt=True)
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    text = render(tokenizer, [message("user", "Hi")], tools=TOOLS[1:])
    assert text.startswith("<|im_start|>system\nTools:\nnow(): The time.<|im_end|>\n<|im_start|>us")


def test_arguments_as_an_object_or_as_text(tokenizer: PreTrainedTokenizerFast) -> None:
    episode = [message("user", "?"), message("assistant", tool_calls=[call("1")])]
    as_text = render(tokenizer, episode)
    episode[1]["tool_calls"][0]["function"]["arguments"] = {"expression": "1"}
    assert render(tokenizer, episode) == as_text


def test_each_prompt_is_a_prefix_of_the_next_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = render(tokenizer, EPISODE, tools=TOOLS)
    for turn, item in enumerate(EPISODE):
        if item["role"] == "assistant":
            prompt = render(tokenizer, EPISODE[:turn], tools=TOOLS, add_generation_prompt=True)
            assert whole.startswith(prompt)


def test_the_mask_is_what_the_assistant_writes(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = random.Random()
    for _ in range(20):
        answers = [str(rng.randrange(10**6)) * rng.randrange(1, 4) for _ in range(3)]
        messages = [message("system", "s")] if rng.random() < 0.5 else []
        expected = ""
        for answer in answers:
            calls = [call(answer)] if rng.random() < 0.5 else None
            messages += [message("user", answer), message("assistant", answer, tool_calls=calls)]
            expected += answer
            if calls:
                arguments = calls[0].function.arguments
                expected += f'<tool_call>{{"name": "calculator", "arguments": {arguments}}}'
                expected += "</tool_call>"
            expected += "<|im_end|>"
        out = tokenizer.apply_chat_template(
            messages, tools=TOOLS, return_dict=True, return_assistant_tokens_mask=True
        )
        pairs = zip(out["input_ids"], out["assistant_masks"], strict=True)
        assert tokenizer.decode([i for i, masked in pairs if masked]) == expected


def test_a_late_system_message_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(jinja2.TemplateError, match="must come first"):
        render(tokenizer, [message("user", "a"), message("system", "b")])


def test_an_unknown_template_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no chat template named 'nope'; there are: chatml"):
        chat_template("nope")


def test_a_conversation_keeps_its_shape(tokenizer: PreTrainedTokenizerFast) -> None:
    row = Conversation(id="x", messages=EPISODE, tools=TOOLS, source="test")  # type: ignore[arg-type]
    again = Conversation.model_validate_json(row.to_json())
    assert render(tokenizer, [m.to_openai() for m in again.messages], tools=TOOLS) == RENDERED
