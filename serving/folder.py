"""What the config.json of a model directory says; it is read when first asked, and once."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.directory import ModelError, read_config
from serving.quant.config import QuantizedWeights, quantized_weights
from serving.quant.hub.config import Scheme, scheme_of

if TYPE_CHECKING:
    import torch


class ModelFolder:
    """A model directory; every property raises ``ModelError`` where it cannot be had."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = path / "config.json"

    @cached_property
    def said(self) -> dict[str, Any]:
        """config.json as it stands."""
        return read_config(self.path)

    @cached_property
    def config(self) -> Any:
        """The architecture, as transformers has it."""
        from transformers import AutoConfig

        assert self.said  # a file that is missing or no JSON is said in our words
        try:
            config = AutoConfig.from_pretrained(
                str(self.path), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # validation errors of many kinds
            reason = " ".join(str(error).split())
            raise ModelError(f"{self.where}: {reason}") from error
        _dtype_of(config, self.where)
        return config

    @property
    def dtype(self) -> "torch.dtype":
        """The type its weights have where they are not packed."""
        return _dtype_of(self.config, self.where)

    @cached_property
    def weights(self) -> QuantizedWeights | None:
        """How our own packing left it; None where it did not pack it."""
        return quantized_weights(self.said, self.where)

    @cached_property
    def scheme(self) -> Scheme | None:
        """How a checkpoint of the hub is packed; None where it is none such."""
        return scheme_of(self.said, self.where)

    @property
    def packed(self) -> bool:
        """Whether its weights are packed, by us or by others."""
        return self.weights is not None or self.scheme is not None

    @property
    def dense_rows(self) -> int | None:
        """Rows from which a copy was measured to be faster, where that was measured."""
        return None if self.weights is None else self.weights.dense_rows


def _dtype_of(config: Any, where: Path) -> "torch.dtype":
    import torch

    dtype = getattr(config, "dtype", None) or torch.float32
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype, dtype)
    if not isinstance(dtype, torch.dtype):
        raise ModelError(f"{where}: dtype: {dtype!r} is no type of torch")
    return dtype
