"""Which device and number format to compute with, chosen once and said aloud."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mercat.errors import ConfigError

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Device:
    """Where to compute. `name` is torch's word for it ("cpu", "cuda:0"); `why` says what `auto` saw."""

    name: str
    dtype: str
    why: str


def choose_device(device: str = "auto", *, dtype: str = "auto") -> Device:
    """Choose the device and the number format for inference.

    `auto` takes the first CUDA device, otherwise the CPU. On CUDA it takes bfloat16 where the hardware has it and
    float16 otherwise; on a CPU bfloat16 only with AMX or avx512_bf16, which compute it natively, and float32 otherwise.
    A device that was named and is not there is a ConfigError, never another device.
    """
    if dtype not in ("auto", *DTYPES):
        raise ConfigError(f"dtype = '{dtype}'", f"Known: auto, {', '.join(DTYPES)}", "dtype = 'auto'")
    name, seen = _device(device)
    if dtype != "auto":
        return Device(name, dtype, seen)
    chosen, reason = _dtype(name)
    return Device(name, chosen, f"{seen}; {reason}")


@cache
def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of this CPU as Linux names them; empty where they cannot be read."""
    return frozenset(_of_cpu("flags", "Features").split())


@cache
def cpu_model() -> str:
    """Return the name of this CPU's model, or of its architecture where the system does not say."""
    return _of_cpu("model name") or platform.processor() or platform.machine()


def native_bfloat16() -> list[str]:
    """Return the instruction sets by which this CPU computes in bfloat16; empty if it does not."""
    return sorted(cpu_flags() & {"amx_bf16", "avx512_bf16"})


def _of_cpu(*names: str) -> str:
    """Return the value of the first line of one of these names that Linux has on the CPU; empty where none is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def _device(wanted: str) -> tuple[str, str]:
    if wanted == "cpu":
        return "cpu", "cpu as asked"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return ("cuda:0", torch.cuda.get_device_name(0)) if count else ("cpu", "no CUDA device seen")
    kind, _, number = wanted.partition(":")
    if kind == "mps" and not number and torch.backends.mps.is_available():
        return "mps", "mps as asked"
    if kind == "cuda" and (number or "0").isdigit() and int(number or 0) < count:
        return f"cuda:{int(number or 0)}", torch.cuda.get_device_name(int(number or 0))
    raise ConfigError(f"device = '{wanted}'", f"torch sees {count} CUDA devices here", "device = 'auto' or 'cpu'")


def _dtype(device: str) -> tuple[str, str]:
    if device.startswith("cuda"):
        import torch

        native_here = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bfloat16", "bfloat16 on CUDA") if native_here else ("float16", "float16 on CUDA")
    native = native_bfloat16() if device == "cpu" else []
    return ("bfloat16", f"bfloat16 by {native[0]}") if native else ("float32", "float32")
