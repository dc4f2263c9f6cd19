"""Keys for records that carry none: their content, and which repetition it is."""

from collections import Counter

from blake3 import blake3


class ContentKeys:
    """Keys of one file's keyless records, by content and occurrence, never position."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def key(self, content: str | bytes) -> str:
        """``HASH`` at first sight of this content, ``HASH#1`` at the second."""
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        name = blake3(raw).hexdigest()[:32]
        occurrence = self._seen[name]
        self._seen[name] += 1
        return name if occurrence == 0 else f"{name}#{occurrence}"
