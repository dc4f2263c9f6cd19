"""Triton's interpreter for this folder's tests; see tests/conftest.py."""

import pytest

from serving.gpu.ready import has_triton, interpreted


@pytest.fixture(autouse=True)
def _interpreter() -> None:
    if not has_triton():
        pytest.skip("Triton is not installed (pip install -e '.[gpu]')")
    assert interpreted(), "TRITON_INTERPRET was not set before Triton was imported"
