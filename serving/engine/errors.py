"""Errors of this engine beyond those of the protocol."""

from contracts.engine import EngineError


class Interrupted(EngineError):
    """The engine was closed, or the request aborted, before its end: asked again, it works."""


class BadLogits(EngineError):
    """The model gave logits that are no numbers."""
