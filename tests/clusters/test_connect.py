import os
import stat
import subprocess
import sys
from pathlib import Path

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


def test_a_remote_cluster_needs_an_address() -> None:
    code = CODE.replace('"embedded", ', '"remote", ')
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert b"cluster.address: missing" in done.stderr
