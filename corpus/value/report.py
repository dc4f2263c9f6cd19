"""What the ledger says of a classifier."""

from pydantic import BaseModel, ConfigDict


class ClassifierReport(BaseModel):
    """How a classifier was trained and how well it does on examples it never saw."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """Its column."""
    skipped: str | None = None
    """Why there is no classifier; every figure below is then empty, and so is its column."""
    train_positives: int = 0
    train_negatives: int = 0
    calibration_positives: int = 0
    calibration_negatives: int = 0
    heldout_positives: int = 0
    heldout_negatives: int = 0
    calibration: str | None = None
    """``platt``, ``isotonic`` or ``none``."""
    heldout_auc: float | None = None
    """Area under the ROC curve on held-out examples."""
    heldout_calibration_error: float | None = None
    """Expected calibration error on held-out examples, both classes weighing the same."""
    uncalibrated_error: float | None = None
    """The same of the classifier's own probabilities."""
    left_out_sources: list[str] = []
    """Sources that a second model was not trained on."""
    left_out_auc: float | None = None
    """That model's AUC on held-out examples, the positives from these sources alone."""
