"""Dynamic loss scale of fp16 training (arXiv:1710.03740, section 3.2)."""

from dataclasses import dataclass

_GROW_AFTER = 1000
"""Steps without overflow after which the scale is doubled."""


@dataclass
class LossScale:
    """The factor on the loss that keeps fp16 gradients from vanishing; 1 where not needed."""

    value: float = 1.0
    good_steps: int = 0
    dynamic: bool = False

    @classmethod
    def for_precision(cls, precision: str) -> "LossScale":
        """65,536 and dynamic for fp16, else 1 for good."""
        return cls(65536.0, 0, True) if precision == "fp16" else cls()

    def update(self, overflowed: bool) -> None:
        """Halve after an overflow, double after a long time without."""
        if not self.dynamic:
            return
        self.good_steps = 0 if overflowed else self.good_steps + 1
        if overflowed:
            self.value = max(1.0, self.value / 2)
        elif self.good_steps >= _GROW_AFTER:
            self.value, self.good_steps = self.value * 2, 0

    def scalars(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"loss_scale": self.value, "good_steps": float(self.good_steps)}

    def restore(self, scalars: dict[str, float]) -> None:
        """From a checkpoint; one of another precision has a scale of 1, which is not taken."""
        if self.dynamic and scalars.get("loss_scale", 1.0) > 1.0:
            self.value = scalars["loss_scale"]
            self.good_steps = int(scalars.get("good_steps", 0))
