"""The forward pass of any encoder that transformers knows, on any device, on padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, pad
from mercat.encoders.checkpoint import place_of
from mercat.errors import ArtifactError, missing_extra
from mercat.pretrained.folder import ADAPTERS, VARIANT

if TYPE_CHECKING:
    import torch

    from mercat.encoders.checkpoint import Checkpoint


class PaddedModel:
    """A transformers AutoModel for inference."""

    def __init__(self, checkpoint: Checkpoint, *, pooling: str, device: str, dtype: str) -> None:
        import torch

        self.pooling, self.device, self.pad_id = pooling, device, checkpoint.pad_id
        self.module = load_module(checkpoint, dtype=getattr(torch, dtype)).eval().to(device)

    def vectors(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids. The shape is (rows, dimensions)."""
        import torch

        ids, mask = (torch.from_numpy(array).to(self.device) for array in pad(rows, pad_id=self.pad_id))
        with torch.inference_mode():
            hidden = self.module(input_ids=ids, attention_mask=mask).last_hidden_state
            unit = torch.nn.functional.normalize(pool(hidden.float(), mask, self.pooling), dim=1)
            found: Vectors = unit.cpu().numpy()
            return found


def load_module(checkpoint: Checkpoint, *, dtype: torch.dtype | None = None) -> Any:
    """Return the body as a transformers module, float32 unless said otherwise.

    Raises ArtifactError for a folder that transformers cannot load, or that is an export without the weights.
    """
    if checkpoint.exported:
        found = f"It is an export for {checkpoint.exported}, without the weights"
        raise ArtifactError(f"Model folder '{checkpoint.folder}'", found, "the model that it was exported from")
    try:
        import torch
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError as error:
        raise missing_extra("A transformer encoder", error.name or "transformers", "train") from error
    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        adapters = [file for file in checkpoint.weights if file.name == ADAPTERS]
        module = AutoModel.from_pretrained(
            checkpoint.folder,
            variant=VARIANT if adapters else None,
            dtype=dtype or torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        if adapters:
            from safetensors.torch import load_file

            from mercat.encoders.adapters import attach

            attach(module, load_file(adapters[0]))
        return module
    except (ValueError, OSError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"Model folder '{checkpoint.folder}'", f"transformers cannot load it: {error}", "another model"
        ) from error
    finally:
        if shown:
            bars.enable_progress_bar()


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return one vector per text from (texts, tokens, dimensions) and a mask of (texts, tokens); differentiable."""
    if (place := place_of(pooling)) is not None:
        return hidden[:, place]
    if pooling == "last":
        last = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        return hidden.gather(1, last).squeeze(1)
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
