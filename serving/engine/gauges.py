"""Counts of what an engine's steps did, for those who measure them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoding:
    """Steps that only decoded, since the engine began."""

    steps: int = 0
    rows: int = 0
    """Tokens they chose."""
    places: int = 0
    """Tokens whose keys and values their rows looked at."""
    seconds: float = 0.0
    """Time in them, choosing and delivering included."""

    def after(self, rows: int, places: int, seconds: float) -> "Decoding":
        """The counts after one more step."""
        return Decoding(
            self.steps + 1, self.rows + rows, self.places + places, self.seconds + seconds
        )

    def since(self, before: "Decoding") -> "Decoding":
        """What was added to an earlier reading."""
        return Decoding(
            self.steps - before.steps,
            self.rows - before.rows,
            self.places - before.places,
            self.seconds - before.seconds,
        )
