"""Figures as Ray metrics: Prometheus scrapes them from the cluster."""

PREFIX = "inkstone_train_"


class RayGauges:
    """A gauge per figure, tagged with the run and its stage. Only in a worker of Ray."""

    def __init__(self, run: str) -> None:
        """Tag every gauge with ``run``."""
        from ray.util.metrics import Gauge

        self._make = Gauge
        self._tags = {"run": run}
        self._gauges: dict[str, Gauge] = {}

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Set the gauges; ``step`` is one of them."""
        for name, value in {"step": float(step), **values}.items():
            if name not in self._gauges:
                plain = "".join(c if c.isalnum() else "_" for c in name)
                self._gauges[name] = self._make(
                    PREFIX + plain, description=f"{name} of a training run", tag_keys=("run",)
                )
                self._gauges[name].set_default_tags(self._tags)
            self._gauges[name].set(value)

    def close(self) -> None:
        """Nothing is held back."""
