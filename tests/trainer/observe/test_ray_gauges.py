"""Ray's metrics as Prometheus would scrape them from the node."""

import contextlib
import time
import urllib.request

import pytest

RUN = "pretrain-0123456789ab"
SECONDS = 300


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_the_gauges_reach_the_nodes_metrics_port(ray_session: None) -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Worker:
        def tell(self) -> None:
            from trainer.observe.ray_gauges import RayGauges

            self.gauges = RayGauges(RUN)  # held: a gauge is gone with its process
            self.gauges.scalars(7, {"loss": 2.5, "validation/en": 3.25})

    worker = Worker.remote()
    ray.get(worker.tell.remote())
    (node,) = ray.nodes()
    until = time.monotonic() + SECONDS
    lines: list[str] = []
    while len(lines) < 3 and time.monotonic() < until:
        time.sleep(1)
        found: list[str] = []
        with contextlib.suppress(OSError):  # the agent that answers may start after its node
            found = scraped(node["MetricsExportPort"]).splitlines()
        lines = [line for line in found if "inkstone_train_" in line and RUN in line]
    values = {line.split("{")[0].split("inkstone_train_")[1]: line.split()[-1] for line in lines}
    assert {name: float(value) for name, value in values.items()} == {
        "step": 7.0, "loss": 2.5, "validation_en": 3.25,
    }  # fmt: skip
