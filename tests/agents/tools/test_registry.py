import json

from agents.tools.registry import TOOLS, observe
from contracts.tool import tool


@tool()
def broken(text: str) -> str:
    """Fail as foreign code may."""
    raise KeyError(text)


def test_every_tool_is_listed_under_its_name():
    assert "calculator" in TOOLS
    for name, listed in TOOLS.items():
        assert listed.name == name
        assert listed.description
        json.dumps(listed.openai_schema())


def test_a_result_is_an_observation():
    seen = observe(TOOLS, "calculator", '{"expression": "6 * 7"}')
    assert (seen.text, seen.ok, seen.result_json) == ("42", True, '"42"')
    assert seen.milliseconds >= 0


def test_errors_are_observations_too():
    for arguments in ['{"expression": "1/0"}', "{", "null", "[" * 100_000, '{"expression": 1}']:
        seen = observe(TOOLS, "calculator", arguments)
        assert not seen.ok
        assert seen.text.startswith("error: ")


def test_an_unknown_tool_is_named_with_those_there_are():
    seen = observe(TOOLS, "calculater", "{}")
    assert not seen.ok
    assert "calculater" in seen.text
    assert "calculator" in seen.text


def test_a_broken_tool_does_not_break_the_episode():
    seen = observe({"broken": broken}, "broken", '{"text": "secret"}')
    assert not seen.ok
    assert "KeyError" in seen.text
