import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.tool import Tool, ToolError, ToolStatus, tool


@tool(read_only=True, idempotent=True)
def repeat(text: str, times: int = 2, loud: bool = False) -> str:
    """Repeat a text
    some times.

    The second paragraph is for people.
    """
    said = text * times
    return said.upper() if loud else said


def test_the_declaration_is_the_contract() -> None:
    assert isinstance(repeat, Tool)
    assert (repeat.name, repeat.status) == ("repeat", ToolStatus.READY)
    assert (repeat.read_only, repeat.idempotent) == (True, True)
    assert repeat.description == "Repeat a text some times."
    schema = repeat.openai_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["type"] == "function"
    parameters = schema["function"]["parameters"]
    assert parameters["required"] == ["text"]
    assert parameters["properties"] == {
        "text": {"type": "string"},
        "times": {"type": "integer", "default": 2},
        "loud": {"type": "boolean", "default": False},
    }


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 5), st.booleans())
def test_a_call_is_the_function(text: str, times: int, loud: bool) -> None:
    arguments = json.dumps({"text": text, "times": times, "loud": loud})
    assert repeat.call(arguments) == repeat.function(text, times, loud)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-5, 5)  # a text repeated 1e300 times would be no fault of the tool's
    | st.sampled_from([math.nan, math.inf, -math.inf])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "times", "loud", "more"]), inner, max_size=4)
    ),
)


@given(st.text(max_size=80) | ANYTHING.map(json.dumps))
def test_any_text_is_a_result_or_a_tool_error(arguments: str) -> None:
    try:
        result = repeat.call(arguments)
    except ToolError:
        return
    assert isinstance(result, str)
    assert "text" in json.loads(arguments)


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ("{", "not JSON"),
        ("[]", "arguments"),
        ("{}", "text"),
        ('{"text": 5}', "text"),
        ('{"text": "a", "times": "many"}', "times"),
        ('{"text": "a", "more": 1}', "more"),
    ],
)
def test_arguments_that_do_not_fit_name_the_key(arguments: str, where: str) -> None:
    with pytest.raises(ToolError, match=rf"repeat: {where}|{where}"):
        repeat.call(arguments)


def test_a_tool_error_of_the_function_reaches_the_caller() -> None:
    @tool()
    def fail(why: str) -> str:
        """Fail."""
        raise ToolError(why)

    with pytest.raises(ToolError, match="no such city"):
        fail.call('{"why": "no such city"}')


def test_a_declaration_without_docstring_or_annotation_is_refused() -> None:
    with pytest.raises(TypeError, match="docstring"):
        tool()(lambda: "x")

    def bare(x):  # type: ignore[no-untyped-def]
        """Say x."""
        return x

    with pytest.raises(TypeError, match="'x' has no annotation"):
        tool()(bare)
