import re

import pytest
from pydantic import ValidationError

from clusters.config import explain
from corpus.config import BuildConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": ["python-doc"]}, r"at\.sources\.0: .*'python-docs' or a mapping"),
        (
            {"sources": [{"path": "x", "format": "jsonl", "source": "s", "txt_field": "a"}]},
            r"txt_field: unknown key \(did you mean 'text_field'\?\)",
        ),
        ({"sources": [{"path": "x", "format": "csv", "source": "s"}]}, r"'csv'.*'parquet'"),
        ({"sources": []}, r"at\.sources: "),
        ({"sources": ["python-docs"], "dedup": {"bands": 0}}, r"at\.dedup\.bands: .*got 0"),
    ],
)
def test_a_wrong_config_names_key_value_and_remedy(values: dict, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildConfig.model_validate(values)

    assert re.search(message, explain(caught.value, BuildConfig, "at"))


def test_the_short_spelling_is_the_long_one() -> None:
    short = BuildConfig.model_validate({"sources": ["python-docs"]})
    assert short == BuildConfig.model_validate({"sources": [{"format": "python-docs"}]})
