from pathlib import Path

import pytest

from clusters.config import ConfigError
from clusters.recipe import load_plan

RECIPE = """\
name: small
seed: 3
stages:
  corpus:
    stage: corpus.build
    config:
      sources: [python-docs]
  tokenizer:
    stage: corpus.tokenizer
    inputs: {corpus: corpus}
    config:
      vocab_size: 512
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def test_a_recipe_becomes_typed_stages_parents_first(tmp_path: Path) -> None:
    head, stages = RECIPE.split("stages:\n")
    first, second = stages.split("  tokenizer:\n")
    swapped = head + "stages:\n  tokenizer:\n" + second + first
    plan = load_plan(write(tmp_path, swapped))
    assert [planned.name for planned in plan.stages] == ["corpus", "tokenizer"]
    assert plan.stages[1].config.vocab_size == 512
    assert plan.stages[1].parents == ["corpus"]


def test_workers_in_other_folders_find_the_store(tmp_path: Path) -> None:
    assert load_plan(write(tmp_path, RECIPE)).recipe.store == Path("store").absolute()


def test_set_overrides_stage_config_and_recipe_keys(tmp_path: Path) -> None:
    overrides = ["tokenizer.vocab_size=300", "seed=9", "cluster.num_cpus=1", "store=/elsewhere"]
    plan = load_plan(write(tmp_path, RECIPE), overrides)
    assert plan.stages[1].config.vocab_size == 300
    assert (plan.recipe.seed, plan.recipe.cluster.num_cpus) == (9, 1)
    assert plan.recipe.store == Path("/elsewhere")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 3", "sed: 3", "small.yaml:2: sed: unknown key (did you mean 'seed'?)"),
        ("seed: 3", "seed: x", "small.yaml:2: seed: Input should be a valid integer"),
        ("corpus.build", "corpus.bild", "small.yaml:5: stages.corpus.stage: stage 'corpus.bild'"),
        ("corpus.build", "corpse.build", "did you mean 'corpus'?"),
        ("vocab_size", "vocabsize", "small.yaml:12: stages.tokenizer.config.vocabsize: unknown"),
        ("512", "lots", "small.yaml:12: stages.tokenizer.config.vocab_size: Input should be"),
        ("{corpus: corpus}", "{corpus: corpora}", "no stage 'corpora' here (did you mean"),
        ("{corpus: corpus}", "{corps: corpus}", "unknown role (did you mean 'corpus'?)"),
        ("{corpus: corpus}", "{}", "stages.tokenizer.inputs.corpus: missing; name the stage"),
        ("{corpus: corpus}", "{corpus: tokenizer}", "makes 'tokenizer', needed: 'corpus'"),
        ("{corpus: corpus}", "{corpus: [corpus, corpus]}", "takes one stage"),
        ("name: small", "name: ../evil", "it names a folder"),
        ("name: small", "name: [", "not YAML"),
        ("stages:", "stage:", "stages: missing, and it has no default"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_plan(write(tmp_path, RECIPE.replace(old, new, 1)))
    assert said in str(caught.value)


def test_a_missing_recipe_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, RECIPE)
    with pytest.raises(ConfigError, match=r"no such recipe \(did you mean 'small.yaml'\?\)"):
        load_plan(tmp_path / "smal.yaml")


@pytest.mark.parametrize("override", ["x", "=3", "tokenizer=4", "seed.x=1", "tokenizer.zz=1"])
def test_wrong_overrides_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError):
        load_plan(write(tmp_path, RECIPE), [override])


def test_every_shipped_recipe_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSTONE_DATA", str(tmp_path))
    recipes = sorted(Path("recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        assert load_plan(path).stages


def test_variables_of_the_environment_are_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_DATA", str(tmp_path / "data"))
    text = RECIPE.replace("[python-docs]", "[{path: '${SOME_DATA}/a', format: jsonl, source: a}]")
    plan = load_plan(write(tmp_path, text))
    assert plan.stages[0].config.sources[0].path == str(tmp_path / "data" / "a")
    monkeypatch.delenv("SOME_DATA")
    with pytest.raises(ConfigError) as error:
        load_plan(write(tmp_path, text))
    assert "small.yaml:7: stages.corpus.config.sources.0.path:" in str(error.value)
    assert "SOME_DATA is not set" in str(error.value)
