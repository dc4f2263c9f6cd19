"""Where a model lies: from what a user types to the folder with config.json."""

from pathlib import Path

from clusters.artifact import Artifact
from clusters.config import ConfigError
from contracts.manifest import MANIFEST_NAME


def resolve_model(name: str) -> Path:
    """The model folder behind an HF directory, an artifact, or ``runs/NAME/STAGE``.

    Raises:
        ConfigError: nothing there, or no model in it.
        ArtifactError: an artifact that is unfinished or damaged.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"model {name!r}: no such folder; name an HF model directory, an artifact, "
            "or runs/NAME/STAGE"
        )
    if (path / MANIFEST_NAME).is_file():
        path = Artifact.open(path).root
    for candidate in (path, path / "model"):
        if (candidate / "config.json").is_file():
            return candidate.resolve()
    raise ConfigError(f"model {name!r}: no config.json in {path} or {path / 'model'}")
