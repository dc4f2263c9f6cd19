"""Figures to an MLflow tracking store or server."""

EXPERIMENT = "inkstone"


class MLflow:
    """A run in MLflow; a restart goes on in the same one."""

    def __init__(self, uri: str, run: str) -> None:
        """Find the run named ``run`` in the store or on the server at ``uri``, or start it."""
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        runs = self._client.search_runs([experiment], f"attributes.run_name = '{run}'")
        made = runs[0] if runs else self._client.create_run(experiment, run_name=run)
        self._run = made.info.run_id

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log all figures in one call."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run)
