"""Stage ``corpus.questions``: conversations to tune on, questions to be judged by.

Conversations come from ``train`` documents, questions from ``validation`` documents, and
no question asks for a function or a summary that a train document holds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from clusters.config import StageConfig
from clusters.stage import StageContext
from contracts.documents import TRAIN, VALIDATION
from corpus.documents import read_rows
from corpus.enrich.choices import questions
from corpus.enrich.conversations import conversations
from corpus.enrich.entries import Entry, entries
from corpus.errors import CorpusError

CONVERSATIONS_NAME = "conversations.jsonl"
QUESTIONS_NAME = "questions.jsonl"


class QuestionsConfig(StageConfig):
    """How many conversations and questions are made, and from which summaries."""

    max_conversations: int = Field(3000, ge=1)
    """Conversations at most, chosen by hash."""
    max_questions: int = Field(500, ge=1)
    """Multiple-choice questions at most, chosen by hash."""
    min_summary: int = Field(20, ge=1)
    """Shortest summary used, in characters."""
    max_summary: int = Field(160, ge=1)
    """Longest summary used, in characters."""
    max_signature: int = Field(120, ge=1)
    """Longest signature asked for, in characters."""


def run(context: StageContext) -> dict[str, Any]:
    """Write ``conversations.jsonl`` and ``questions.jsonl``; returns what was left out."""
    config: QuestionsConfig = context.config
    corpus = context.input("corpus")
    parts = corpus.files("documents/")
    dropped: Counter[str] = Counter()
    known = list(_entries(parts, TRAIN))
    held_out = _unseen(_entries(parts, VALIDATION), known, dropped)
    train = _distinct(_fitting(known, config, dropped), dropped)
    validation = _distinct(_fitting(held_out, config, dropped), dropped)
    talks = conversations(
        train,
        seed=context.seed,
        limit=config.max_conversations,
        max_signature=config.max_signature,
    )
    asked = questions(validation, seed=context.seed, limit=config.max_questions)
    for made, split in ((talks, TRAIN), (asked, VALIDATION)):
        if not made:
            raise CorpusError(
                f"{corpus.directory}: its {split} documents hold too few documented functions "
                "(lines '## module.name(signature)' and a docstring) to ask about; "
                "take a larger corpus, or leave this stage out of the recipe"
            )
    _write_lines(context.out.path(CONVERSATIONS_NAME), (talk.to_json() for talk in talks))
    _write_lines(context.out.path(QUESTIONS_NAME), (question.to_json() for question in asked))
    return {
        "in": {"train_functions": len(train), "validation_functions": len(validation)},
        "out": {"conversations": len(talks), "questions": len(asked)},
        "dropped": dict(sorted(dropped.items())),
    }


def _entries(parts: Sequence[Path], split: str) -> Iterator[Entry]:
    for row in read_rows(parts, ["uid", "text"], split):
        yield from entries(row["uid"], row["text"])


def _unseen(
    found: Iterable[Entry], train: Sequence[Entry], dropped: Counter[str]
) -> Iterator[Entry]:
    """Entries whose name and summary no train document holds."""
    names = {entry.name.casefold() for entry in train}
    summaries = {entry.summary.casefold() for entry in train}
    for entry in found:
        if entry.name.casefold() in names:
            dropped["name_in_train"] += 1
        elif entry.summary.casefold() in summaries:
            dropped["summary_in_train"] += 1
        else:
            yield entry


def _fitting(
    found: Iterable[Entry], config: QuestionsConfig, dropped: Counter[str]
) -> Iterator[Entry]:
    for entry in found:
        if len(entry.summary) < config.min_summary:
            dropped["summary_too_short"] += 1
        elif len(entry.summary) > config.max_summary:
            dropped["summary_too_long"] += 1
        else:
            yield entry


def _distinct(found: Iterable[Entry], dropped: Counter[str]) -> list[Entry]:
    """One entry per name and per summary, the one of the lowest (uid, name)."""
    names: set[str] = set()
    summaries: set[str] = set()
    kept = []
    for entry in sorted(found, key=lambda entry: (entry.uid, entry.name, entry.signature)):
        if entry.name.casefold() in names:
            dropped["same_name"] += 1
        elif entry.summary.casefold() in summaries:
            dropped["same_summary"] += 1
        else:
            kept.append(entry)
            names.add(entry.name.casefold())
            summaries.add(entry.summary.casefold())
    return kept


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
