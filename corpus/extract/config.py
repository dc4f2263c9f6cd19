"""Config of extraction: how a page becomes text."""

from pydantic import Field

from clusters.config import StageConfig


class ExtractConfig(StageConfig):
    """From the bytes of a web page to its main text."""

    careful: bool = True
    """Read doubtful pages a second time with the slow, careful extractor (trafilatura)."""
    max_doubt: float = Field(default=0.2, ge=0, le=1)
    """Pages of which the fast extractor is less sure go to the careful one: text it is unsure
    of over text it keeps, 0 (sure of every block) to 1."""
    min_chars: int = Field(default=250, ge=0)
    """Pages of which the fast extractor keeps fewer characters are doubtful."""
    keep_score: float = Field(default=0.5, ge=0, le=1)
    """Lowest probability of being main text for a block to be kept."""
    max_page_bytes: int = Field(default=8 << 20, gt=0)
    """Bytes of a page that are read; what follows is cut off. Bounds time and memory."""
    max_careful_bytes: int = Field(default=2 << 20, gt=0)
    """Longer pages never go to the careful extractor."""
    max_careful_elements: int = Field(default=20_000, gt=0)
    """Pages of more elements never go to the careful extractor."""
    metadata: bool = True
    """Look for title, date, language and licence."""
