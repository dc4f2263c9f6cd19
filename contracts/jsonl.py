"""Reads JSON Lines of one shape."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Row = TypeVar("Row", bound=BaseModel)


def read_rows(path: Path, shape: type[Row]) -> list[Row]:
    """Every line of ``path`` as a ``shape``.

    Raises:
        ValueError: a line is none; names the file, line, field and reason.
    """
    rows = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(shape.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "line"
                raise ValueError(f"{path}:{number}: {where}: {first['msg']}") from error
    return rows
