"""One line of a published table, read cell by cell; what is wrong is named by line and column."""

import math
from pathlib import Path

from clusters.config import ConfigError, nearest


class Cells:
    """The cells of one line."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        """Read ``cells``, by column, of a line of a file."""
        self.path, self.line, self._cells = path, line, cells

    def fail(self, column: str, problem: str) -> ConfigError:
        """What is wrong in a column; to be raised."""
        return ConfigError(f"{self.path}:{self.line}: {column}: {problem}")

    def text(self, column: str) -> str:
        """A cell that is not empty."""
        value = self._cells[column].strip()
        if not value:
            raise self.fail(column, "empty; every row needs a value in every column")
        return value

    def number(self, column: str) -> float:
        """A number above 0."""
        value = self.text(column)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if number > 0 and math.isfinite(number):
            return number
        plain = "".join(c for c in value if c.isdigit() or c in ".e-+")
        hint = "; write it without units and separators" if plain != value and plain else ""
        raise self.fail(column, f"expected a number above 0, got {value!r}{hint}")

    def whole(self, column: str) -> int:
        """A whole number above 0."""
        number = self.number(column)
        if number != int(number):
            raise self.fail(column, f"expected a whole number, got {self.text(column)!r}")
        return int(number)

    def one_of(self, column: str, known: tuple[str, ...]) -> str:
        """One of the known words, in any case."""
        value = self.text(column).lower()
        if value not in known:
            hint = nearest(value, list(known))
            raise self.fail(column, f"unknown {value!r}{hint}; known: {', '.join(known)}")
        return value
