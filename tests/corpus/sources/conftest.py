"""An S3 API server on loopback (moto), as a process of its own."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tester"}


class S3Server:
    """A running server; ``put`` and ``delete`` change its one bucket ``lake``."""

    def __init__(self, url: str) -> None:
        from pyarrow import fs

        self.url = url
        self.store = fs.S3FileSystem(
            endpoint_override=url,
            region="us-east-1",
            access_key=KEYS["AWS_ACCESS_KEY_ID"],
            secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            allow_bucket_creation=True,
        )
        self.store.create_dir("lake")

    def put(self, key: str, content: bytes) -> None:
        """Write one object of the bucket."""
        with self.store.open_output_stream(f"lake/{key}") as stream:
            stream.write(content)

    def delete(self, key: str) -> None:
        """Delete one object of the bucket."""
        self.store.delete_file(f"lake/{key}")

    def post(self, path: str, body: bytes) -> None:
        """Tell the server itself something."""
        request = urllib.request.Request(f"{self.url}{path}", data=body, method="POST")
        request.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(request, timeout=200).read()


@pytest.fixture(scope="session")
def s3_process() -> Iterator[str]:
    """The URL of a server process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(200)


def _wait(port: int, process: subprocess.Popen) -> None:
    for _ in range(3000):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "the S3 server ended"
        time.sleep(0.1)
    raise AssertionError("the S3 server does not answer")


@pytest.fixture
def s3(s3_process: str, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """An empty server, and its credentials in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_process)
    urllib.request.urlopen(
        urllib.request.Request(f"{s3_process}/moto-api/reset", method="POST"), timeout=200
    ).read()
    return S3Server(s3_process)


@pytest.fixture
def strict_s3(s3: S3Server) -> Iterator[S3Server]:
    """The server, which from now on checks who asks."""
    s3.post("/moto-api/reset-auth", b"0")
    yield s3
    s3.post("/moto-api/reset-auth", b"Infinity")


def source_of(path: object, format_: str = "jsonl", **more: Any) -> dict[str, Any]:
    """A source's config as a recipe would have it."""
    return {"path": str(path), "format": format_, "source": "test", **more}
