"""A model's layers one at a time: calibration text goes through, weights come and go.

What is in memory at once: the embedding, one layer, and the hidden states of the calibration
text. Hidden states are those of the original weights, so that a walk that was cut off goes on
from the text alone.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from serving.directory import ModelError, locate_tensors, read_tensor
from serving.folder import ModelFolder
from serving.quant.awq.layer import Seen, Tensors, Watch
from serving.support import refuse_unsupported

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families whose layers are built as ``FOLDS`` says."""


class LayerWalk:
    """Calibration text on its way through the layers of a model directory."""

    def __init__(self, source: Path, windows: list[list[int]]) -> None:
        """Embed the text.

        Args:
            source: model directory, bf16 or wider.
            windows: token ids, all of one length.

        Raises:
            ModelError: the architecture is not one of ``FAMILIES``, or weights are missing or
                do not match it.
        """
        folder = ModelFolder(source)
        config, where = folder.config, folder.where
        if config.model_type not in FAMILIES:
            raise ModelError(
                f"{where}: {config.model_type}: method awq knows where scales go in "
                f"{', '.join(sorted(FAMILIES))} alone; take method rtn"
            )
        refuse_unsupported(config, where)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        self._source, self._windows = source, windows
        self._body = model.model
        self._files = locate_tensors(source)
        self.count: int = config.num_hidden_layers
        self.head_dim: int = model.model.layers[0].self_attn.head_dim
        self._check_ids()
        embedding = self.tensor("model.embed_tokens.weight").bfloat16()
        self._hidden = [embedding[torch.tensor([window])] for window in windows]
        rotary = type(self._body.rotary_emb)(config=config)
        positions = torch.arange(len(windows[0]))[None]
        self._angles = rotary(self._hidden[0], positions)
        self._positions = positions

    @torch.no_grad()
    def step(self, index: int, watch: bool) -> tuple[int, Tensors, dict[str, Seen]]:
        """Take the text through layer ``index``; layers are taken in order.

        Args:
            index: which layer.
            watch: whether to gather what its linear layers see.

        Returns:
            Bytes of the layer's weights in the files; the weights by name, float32; and what was
            seen by source of each fold. Nothing but the bytes without ``watch``.

        Raises:
            ModelError: weights of the layer are missing or of another shape.
        """
        layer = self._body.layers[index].to_empty(device="cpu").eval()
        weights = self._layer_weights(index)
        self._load(layer, weights, index)
        watcher = Watch(layer) if watch else None
        for number, hidden in enumerate(self._hidden):
            out = layer(hidden, position_embeddings=self._angles, position_ids=self._positions)
            self._hidden[number] = out[0] if isinstance(out, tuple) else out
        layer.to("meta")
        size = sum(tensor.nbytes for tensor in weights.values())
        if watcher is None:
            return size, {}, {}
        return size, {name: w.float() for name, w in weights.items()}, watcher.close()

    def rest(self) -> list[str]:
        """Names of the weights that belong to no layer."""
        return sorted(name for name in self._files if not name.startswith("model.layers."))

    def tensor(self, name: str) -> torch.Tensor:
        """One weight as the files hold it.

        Raises:
            ModelError: it is missing or damaged.
        """
        if name not in self._files:
            raise ModelError(f"{self._source}: weight {name!r} is missing")
        return read_tensor(self._files[name], name)

    def _layer_weights(self, index: int) -> Tensors:
        prefix = f"model.layers.{index}."
        return {
            name.removeprefix(prefix): self.tensor(name)
            for name in sorted(self._files)
            if name.startswith(prefix)
        }

    def _load(self, layer: Any, weights: Tensors, index: int) -> None:
        try:
            layer.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{self._source}: model.layers.{index}: {reason}") from error

    def _check_ids(self) -> None:
        rows = self._body.embed_tokens.weight.shape[0]
        highest = max(max(window) for window in self._windows)
        if highest >= rows:
            raise ModelError(
                f"{self._source}: the calibration text has token {highest}, the model {rows} "
                "tokens; give text made with this model's tokenizer"
            )
