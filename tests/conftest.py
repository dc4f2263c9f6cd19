"""Shared fixtures: a Ray for the session, the shared data, and a home of its own."""

import os
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Property tests are about values: a busy machine may take its time over them.
settings.register_profile(
    "inkstone", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("inkstone")
# A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["HOME"] = tempfile.mkdtemp(prefix="inkstone-home-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["THP_MEM_ALLOC_ENABLE"] = "0"  # an engine would turn it on for tests that count memory
os.environ["TRITON_INTERPRET"] = "1"  # kernels run here, without a GPU
os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One small local Ray for all tests that need one."""
    from clusters.connect import ClusterConfig, connect

    with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=200 << 20)):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the shared test data, named by INKSTONE_DATA."""
    path = os.environ.get("INKSTONE_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("INKSTONE_DATA names no folder of test data")
    return Path(path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With INKSTONE_KILLS=N at most N failpoints of every kill matrix run, drawn at random."""
    most = int(os.environ.get("INKSTONE_KILLS", 0))
    matrices: dict[str, list[pytest.Item]] = {}
    for item in items:
        if "failpoint" in getattr(getattr(item, "callspec", None), "params", {}):
            matrices.setdefault(item.nodeid.split("[")[0], []).append(item)
    left_out = {
        item
        for matrix in matrices.values()
        if most and len(matrix) > most
        for item in random.SystemRandom().sample(matrix, len(matrix) - most)
    }
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> object:
    """With INKSTONE_REQUIRE_ALL a test that would skip fails: nothing is left out in silence.

    But for hardware: no command can install it.
    """
    report = yield
    required = os.environ.get("INKSTONE_REQUIRE_ALL") and not item.get_closest_marker("hardware")
    if report.skipped and required:
        report.outcome = "failed"
        report.longrepr = f"skipped, but INKSTONE_REQUIRE_ALL is set: {report.longrepr}"
    return report
