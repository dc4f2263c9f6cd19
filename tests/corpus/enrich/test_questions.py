"""The stage that makes conversations and questions, on random documentation."""

import json
import random
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from clusters.artifact import Artifact
from clusters.execute import run_stage
from contracts.conversation import read_conversations
from contracts.question import Question
from corpus.enrich.questions import QuestionsConfig
from corpus.errors import CorpusError
from corpus.stages import STAGES

STAGE = next(stage for stage in STAGES if stage.name == "corpus.questions")
MakeCorpus = Callable[..., Artifact]
Facts = dict[str, tuple[str, str]]


def word(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randrange(4, 9)))


def module(rng: random.Random, name: str, count: int = 4) -> tuple[str, Facts]:
    """A module document, and name -> (signature, summary) of its functions."""
    facts: Facts = {}
    for _ in range(count):
        sentence = " ".join(word(rng) for _ in range(rng.randrange(4, 9))).capitalize() + "."
        facts[f"{name}.{word(rng)}"] = (f"{word(rng)}, {word(rng)}=1", sentence)
    sections = [f"## {n}({sig})\n\n{text} And more.\n" for n, (sig, text) in facts.items()]
    return f"# {name}\n\n" + "\n".join(sections), facts


def documentation() -> tuple[list[dict], Facts, Facts]:
    rng = random.Random()
    rows = []
    facts: dict[str, Facts] = {"train": {}, "validation": {}}
    for i in range(40):
        split = "validation" if i % 4 == 0 else "train"
        text, found = module(rng, f"pkg{i}.{word(rng)}")
        rows.append({"id": f"m{i}", "source": "docstrings", "text": text, "split": split})
        facts[split].update(found)
    return rows, facts["train"], facts["validation"]


def run(corpus: Artifact, store: Path, seed: int = 0, **config: int) -> Artifact:
    return run_stage(STAGE, QuestionsConfig(**config), {"corpus": [corpus]}, store=store, seed=seed)


def read(artifact: Artifact) -> list[Question]:
    lines = artifact.path("questions.jsonl").read_text().splitlines()
    return [Question.model_validate_json(line) for line in lines]


def asked_name(question: str, names: Facts) -> str:
    return next(name for name in names if f"`{name}`" in question)


def test_conversations_are_right_and_from_train_documents(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    rows, train, _ = documentation()
    artifact = run(make_corpus(rows), tmp_path)
    talks = read_conversations(artifact.path("conversations.jsonl"))
    assert len(talks) == 2 * len(train)
    assert len({talk.id for talk in talks}) == len(talks)
    for talk in talks:
        question, answer = (message.content or "" for message in talk.messages)
        name = asked_name(question, train)
        signature, summary = train[name]
        assert answer == (summary if talk.id.startswith("summary") else f"{name}({signature})")
    assert len({talk.messages[0].content.split("`")[0] for talk in talks}) > 4  # type: ignore[union-attr]


def test_questions_are_right_and_from_validation_documents(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    rows, _, validation = documentation()
    asked = read(run(make_corpus(rows), tmp_path))
    assert len(asked) == len(validation)
    summaries = {summary for _, summary in validation.values()}
    for question in asked:
        name = asked_name(question.question, validation)
        assert question.choices[question.answer] == validation[name][1]
        assert len(set(question.choices)) == 4
        assert set(question.choices) <= summaries
    positions = Counter(question.answer for question in asked)
    assert set(positions) == {0, 1, 2, 3}


def test_nothing_known_from_train_documents_is_asked(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    rows, train, validation = documentation()
    name, (_, summary) = random.choice(list(train.items()))
    leak = f"## {name}(x)\n\nSome fresh words stand here.\n\n## leaked.other(x)\n\n{summary}\n"
    rows.append({"id": "leak", "source": "docs", "text": leak, "split": "validation"})
    artifact = run(make_corpus(rows), tmp_path)
    assert len(read(artifact)) == len(validation)
    assert artifact.manifest.stats["dropped"] == {"name_in_train": 1, "summary_in_train": 1}
    text = artifact.path("questions.jsonl").read_text()
    assert name not in text
    assert summary not in text


def test_repeats_and_lengths_are_dropped_and_counted(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    rows, train, _ = documentation()
    again = "## pkg.same(x)\n\nShared summary of two functions.\n\n"
    again += "## pkg.other(x)\n\nShared summary of two functions.\n\n"
    again += "## pkg.other(y)\n\nThe same name another time.\n\n"
    again += f"## pkg.tiny(x)\n\nTiny.\n\n## pkg.huge(x)\n\nHuge {'very ' * 80}thing.\n"
    rows.append({"id": "again", "source": "docs", "text": again, "split": "train"})
    stats = run(make_corpus(rows), tmp_path).manifest.stats
    assert stats["in"]["train_functions"] == len(train) + 1
    assert stats["dropped"] == {
        "same_name": 1,
        "same_summary": 1,
        "summary_too_short": 1,
        "summary_too_long": 1,
    }


def test_bounds_choose_by_hash_not_by_place(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    rows, _, _ = documentation()
    limits = {"max_conversations": 30, "max_questions": 7}
    one = run(make_corpus(rows, parts=1), tmp_path / "a", **limits)
    many = run(make_corpus(rows[::-1], parts=5), tmp_path / "b", **limits)
    assert one.manifest.digest == many.manifest.digest
    assert one.manifest.stats["out"]["conversations"] == 30
    assert one.manifest.stats["out"]["questions"] == 7
    other = run(make_corpus(rows), tmp_path, seed=1, **limits)
    assert other.manifest.digest != one.manifest.digest


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_corpus_without_functions_is_an_error(
    make_corpus: MakeCorpus, tmp_path: Path, split: str
) -> None:
    rows = [row for row in documentation()[0] if row["split"] != split]
    with pytest.raises(CorpusError, match=f"its {split} documents hold too few"):
        run(make_corpus(rows), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 4}, "answer 4 is none of 4"),
        ({"choices": ["a", "a"]}, "two choices are the same"),
        ({"more": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_question_is_refused(change: dict, message: str) -> None:
    row = {"id": "q", "uid": 1, "question": "?", "choices": list("abcd"), "answer": 0}
    assert Question.model_validate(row).to_json() == json.dumps(row, sort_keys=True)
    with pytest.raises(ValidationError, match=message):
        Question.model_validate({**row, **change})
