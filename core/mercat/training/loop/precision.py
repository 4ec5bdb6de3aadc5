"""The number format that a body computes in while it learns: bfloat16 where the hardware has it; weights stay float32.

Mixed precision as in Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740, with bfloat16, whose range needs no
scaling of the loss (Kalamkar et al. 2019, https://arxiv.org/abs/1905.12322).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch

from mercat.compute.device import choose_device

Dtype = Literal["auto", "float32", "bfloat16"]
DTYPES = get_args(Dtype)


def learning_dtype(wanted: Dtype, device: torch.device) -> str:
    """Return "float32" or "bfloat16". "auto" takes bfloat16 where the device computes it natively."""
    if wanted != "auto":
        return wanted
    if device.type not in ("cpu", "cuda"):
        return "float32"
    found = choose_device(str(device)).dtype
    return found if found in DTYPES else "float32"  # float16 would need its loss scaled


@contextmanager
def computing(model: torch.nn.Module, dtype: str) -> Iterator[None]:
    """Let the model's pretrained part, `model.body` if it has one, multiply in `dtype` in this block.

    What the part gives is float32 again, so heads and losses are computed as ever.
    """
    if dtype == "float32":
        yield
        return
    body: Any = getattr(model, "body", model)
    forward, own, device = body.forward, "forward" in vars(body), next(model.parameters()).device.type

    def reduced(*given: Any, **named: Any) -> Any:
        with torch.autocast(device, dtype=getattr(torch, dtype)):
            return _in_float32(forward(*given, **named))

    body.forward = reduced
    try:
        yield
    finally:
        if own:
            body.forward = forward
        else:
            del body.forward  # the class's own again


def _in_float32(found: Any) -> Any:
    """Return a tensor, or the tensors of a mapping, in float32 where they hold broken numbers."""
    if isinstance(found, torch.Tensor):
        return found.float() if found.is_floating_point() else found
    for name, value in found.items():
        if isinstance(value, torch.Tensor):
            found[name] = _in_float32(value)
    return found
