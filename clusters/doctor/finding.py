"""What a check found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str
    status: Literal["ok", "warning", "error"]
    found: str
    remedy: str = ""
