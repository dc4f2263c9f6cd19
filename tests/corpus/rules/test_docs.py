import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from corpus.decontaminate.config import DecontaminateConfig
from corpus.rules.config import RulesConfig
from corpus.safety.config import SafetyConfig

DOCS = Path(__file__).parents[3] / "docs" / "corpus"
MODELS: dict[str, type[BaseModel]] = {
    "rules": RulesConfig,
    "safety": SafetyConfig,
    "decontaminate": DecontaminateConfig,
}


@pytest.mark.parametrize("page", ["rules", "safety", "decontamination"])
def test_the_configs_of_a_page_are_valid(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        for key, value in yaml.safe_load(block).items():
            MODELS[key].model_validate(value)


def test_every_rule_is_documented() -> None:
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    fields = set(RulesConfig.model_fields) - {"unit", "languages"}
    assert {name for name in fields if f"`{name}`" not in text} == set()
