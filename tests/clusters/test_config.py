import pytest
from pydantic import Field, ValidationError, model_validator

from clusters.config import StageConfig, execution, explain, identity


class Inner(StageConfig):
    """Nested config."""

    rate: float = 0.5
    """Share, 0 to 1."""
    port: int = execution(8000)
    """Port."""


class Outer(StageConfig):
    """Config with nested ones."""

    steps: int = 10
    """Steps."""
    inner: Inner = Inner()
    """One."""
    many: list[Inner] = Field(default_factory=list)
    """Several."""
    workers: int = execution(2)
    """Workers."""


def test_identity_leaves_out_execution_fields_at_any_depth() -> None:
    config = Outer(many=[Inner(port=1)], workers=9)
    assert identity(config) == {"steps": 10, "inner": {"rate": 0.5}, "many": [{"rate": 0.5}]}
    assert identity(config) == identity(Outer(many=[Inner(port=2)], workers=1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stepz": 3}, "stages.x.config.stepz: unknown key (did you mean 'steps'?); known: inner,"),
        ({"steps": "many"}, "stages.x.config.steps: Input should be a valid integer"),
        ({"inner": {"rat": 1}}, "stages.x.config.inner.rat: unknown key (did you mean 'rate'?)"),
        ({"many": [{"prt": 1}]}, "stages.x.config.many.0.prt: unknown key (did you mean 'port'?)"),
    ],
)
def test_explain_names_key_value_and_remedy(given: dict, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    assert said in explain(caught.value, Outer, "stages.x.config")


class Pair(StageConfig):
    """Two fields that must fit together."""

    low: int = 1
    """Low."""
    high: int = 2
    """High."""

    @model_validator(mode="after")
    def _in_order(self) -> "Pair":
        if self.low > self.high:
            raise ValueError("low is above high; raise high")
        return self


def test_fields_that_do_not_fit_together_are_said_without_the_whole_config() -> None:
    with pytest.raises(ValidationError) as caught:
        Pair.model_validate({"low": 3})
    assert explain(caught.value, Pair, "pair") == "pair: low is above high; raise high"


def test_docstrings_reach_the_schema() -> None:
    assert Outer.model_json_schema()["properties"]["steps"]["description"] == "Steps."
