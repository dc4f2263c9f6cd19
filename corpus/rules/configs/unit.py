"""What the rules count as a word."""

from typing import Literal

Unit = Literal["word", "character"]
