"""Multiple-choice questions: pick the summary of a function among four."""

from bisect import bisect_left
from collections.abc import Sequence

from contracts.manifest import canonical_json, hash_bytes
from contracts.question import Question
from corpus.documents import order_key
from corpus.enrich.entries import Entry

NUM_CHOICES = 4
NEIGHBOURS = 40
"""Summaries of nearest length among which distractors are drawn."""
MAX_OVERLAP = 0.5
"""Share of words (Jaccard) above which two summaries are too alike to be told apart."""


def questions(found: Sequence[Entry], *, seed: int, limit: int) -> list[Question]:
    """At most ``limit`` questions; distractors are other entries' summaries.

    Args:
        found: entries whose names and summaries differ.
        seed: chooses entries, distractors and the order of choices.
        limit: questions at most.
    """
    by_length = sorted(found, key=lambda entry: (len(entry.summary), entry.name))
    made: list[Question] = []
    for entry in sorted(found, key=lambda entry: order_key(seed, "question", entry.name)):
        if len(made) == limit:
            break
        wrong = _distractors(entry, by_length, seed)
        if len(wrong) == NUM_CHOICES - 1:
            made.append(_question(entry, wrong, seed))
    return made


def _question(entry: Entry, wrong: list[str], seed: int) -> Question:
    choices = sorted([entry.summary, *wrong], key=lambda c: order_key(seed, entry.name, c))
    return Question(
        id=f"choice-{hash_bytes(canonical_json([entry.uid, entry.name]))[:16]}",
        uid=entry.uid,
        question=f"What does `{entry.name}` do?",
        choices=choices,
        answer=choices.index(entry.summary),
    )


def _distractors(entry: Entry, by_length: Sequence[Entry], seed: int) -> list[str]:
    """Summaries of similar length, unlike the right one and each other."""
    place = bisect_left(
        by_length, (len(entry.summary), entry.name), key=lambda e: (len(e.summary), e.name)
    )
    first = max(0, min(place - NEIGHBOURS // 2, len(by_length) - NEIGHBOURS))
    near = by_length[first : first + NEIGHBOURS]
    chosen = [entry.summary]
    for other in sorted(near, key=lambda e: order_key(seed, "distractor", entry.name, e.name)):
        if len(chosen) < NUM_CHOICES and all(
            _overlap(other.summary, text) <= MAX_OVERLAP for text in chosen
        ):
            chosen.append(other.summary)
    return chosen[1:]


def _overlap(one: str, other: str) -> float:
    first, second = set(one.lower().split()), set(other.lower().split())
    return len(first & second) / len(first | second)
