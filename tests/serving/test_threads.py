import time

import psutil
import pytest
import torch

from serving.engine.threads import release_team


def test_idle_workers_end_and_come_back() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        x = torch.randn(300, 300)
        whole = x @ x + x.exp()
        for _ in range(3):
            torch.randn(1 << 20).exp()
        before = psutil.Process().num_threads()
        if not release_team():
            pytest.skip("this torch comes without a libgomp of its own")
        deadline = time.monotonic() + 120
        while psutil.Process().num_threads() > before - 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert torch.equal(x @ x + x.exp(), whole)
    finally:
        torch.set_num_threads(threads)
