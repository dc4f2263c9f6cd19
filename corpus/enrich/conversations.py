"""Conversations about documented functions: what each does, and how it is called."""

import heapq
from collections.abc import Iterable, Iterator

from contracts.conversation import Conversation, Message
from contracts.manifest import canonical_json, hash_bytes
from corpus.documents import order_key
from corpus.enrich.entries import Entry

SOURCE = "documentation"
ABOUT_SUMMARY = (
    "What does `{name}` do?",
    "What is `{name}` for?",
    "Explain `{name}` in one sentence.",
    "I came across `{name}`. What does it do?",
    "Summarise what `{name}` does.",
)
ABOUT_SIGNATURE = (
    "What is the signature of `{name}`?",
    "How is `{name}` called?",
    "Which parameters does `{name}` take?",
    "Show me the signature of `{name}`.",
)


def conversations(
    found: Iterable[Entry], *, seed: int, limit: int, max_signature: int
) -> list[Conversation]:
    """At most ``limit`` conversations, chosen and ordered by hash of seed and identity.

    Args:
        found: entries with names that differ.
        seed: chooses entries and phrasings.
        limit: conversations at most.
        max_signature: longest signature asked for, in characters.
    """
    return heapq.nsmallest(
        limit,
        (c for entry in found for c in _about(entry, seed, max_signature)),
        key=lambda conversation: order_key(seed, conversation.id),
    )


def _about(entry: Entry, seed: int, max_signature: int) -> Iterator[Conversation]:
    yield _conversation(entry, seed, "summary", ABOUT_SUMMARY, entry.summary)
    if 0 < len(entry.signature) <= max_signature:
        call = f"{entry.name}({entry.signature})"
        yield _conversation(entry, seed, "signature", ABOUT_SIGNATURE, call)


def _conversation(
    entry: Entry, seed: int, kind: str, phrasings: tuple[str, ...], answer: str
) -> Conversation:
    draw = int(order_key(seed, "phrasing", kind, entry.name)[:8], 16)
    question = phrasings[draw % len(phrasings)].format(name=entry.name)
    return Conversation(
        id=f"{kind}-{hash_bytes(canonical_json([kind, entry.uid, entry.name]))[:16]}",
        messages=[
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ],
        source=SOURCE,
        uid=entry.uid,
    )
