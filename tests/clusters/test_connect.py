import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
from clusters.connect import ClusterConfig, connect
with connect("embedded", ClusterConfig(num_cpus=1, object_store_bytes=100 << 20)):
    import ray
    print(os.environ["RAY_AUTH_MODE"], int(ray.cluster_resources()["CPU"]))
"""


def test_an_embedded_cluster_asks_for_a_token_that_only_we_can_read(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_MODE"}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True)
    assert done.stdout.split() == [b"token", b"1"], done.stderr
    mode = stat.S_IMODE((tmp_path / ".ray" / "auth_token").stat().st_mode)
    assert mode == 0o600


SLOW_TO_START = """
import sys
from ray._private import services
real, failures = services.get_node, int(sys.argv[1])
class Clock:
    now = 0.0
    def monotonic(self):
        return self.now
    def __getattr__(self, name):
        return getattr(time, name)
def slow(*arguments, **options):
    global failures
    if failures:
        failures -= 1
        clock.now += 31
        raise RuntimeError("no such node yet")
    return real(*arguments, **options)
import time
from ray._private import node
clock = node.time = Clock()
services.get_node = slow
"""


@pytest.mark.slow
def test_a_busy_machine_may_take_longer_than_ray_waits() -> None:
    """The node is there once Ray gave it up for the second time."""
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", SLOW_TO_START + CODE]
    done = subprocess.run([*command, "2"], env=environment, capture_output=True)
    assert done.stdout.split() == [b"disabled", b"1"], done.stderr
    done = subprocess.run([*command, "99"], env=environment, capture_output=True)
    assert b"is this machine busy?" in done.stderr


def test_a_remote_cluster_needs_an_address() -> None:
    code = CODE.replace('"embedded", ', '"remote", ')
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert b"cluster.address: missing" in done.stderr
