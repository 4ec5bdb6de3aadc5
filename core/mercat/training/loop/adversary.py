"""Adversarial training on the word embeddings: FGM, Miyato et al. 2017, https://arxiv.org/abs/1605.07725.

After the gradient of a batch, the batch is computed once more with its embeddings moved a little the way that hurts
most; both gradients count. A step costs twice as much and generalises better from few or noisy labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_LEAST = 1e-12


class Adversary:
    """Moves the embeddings of each text, all its tokens as one vector, by `size` times their Euclidean length.

    The paper's length is a number of its own for each model; a share fits all. Padding does not count.
    """

    def __init__(self, embeddings: torch.nn.Module, *, size: float) -> None:
        self._embeddings, self._size = embeddings, size
        self._seen: torch.Tensor | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Remember the embeddings of the forward pass in this block; its backward pass must follow."""

        def watch(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
            if output.requires_grad:
                output.retain_grad()
            else:  # frozen, as under adapters: they can be moved all the same
                output.requires_grad_(True)
            self._seen = output

        with self._hooked(watch):
            yield

    @contextmanager
    def attacking(self) -> Iterator[None]:
        """Move the embeddings of the forward pass in this block, which must be of the batch that was watched."""
        if self._seen is None or self._seen.grad is None:
            raise RuntimeError("an attack needs the gradient of a watched forward pass")
        gradient, embeddings = self._seen.grad, self._seen.detach()
        own = embeddings * (gradient != 0).any(dim=2, keepdim=True)
        lengths = own.flatten(1).norm(dim=1) / (gradient.flatten(1).norm(dim=1) + _LEAST)
        shift = self._size * gradient * lengths[:, None, None]
        self._seen = None

        def attack(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            moved: torch.Tensor = output + shift
            return moved

        with self._hooked(attack):
            yield

    @contextmanager
    def _hooked(self, hook: Any) -> Iterator[None]:
        handle = self._embeddings.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()
