"""Checkpoints of a run: weights, optimiser moments, random state and place, so that a kill at any step costs little.

scratch/step-000120/model.safetensors        the weights that learn
                   /optimiser.safetensors    AdamW's two moments per weight, and the random state
                   /steering.safetensors     what a recipe remembers between updates, if it does
                   /state.json               where the run stood
       /best.safetensors                     the weights of the best epoch so far
       /epoch-0002.safetensors               the weights after an epoch that will be averaged
       /latest                               the folder to go on from; written last, atomically
       /key                                  by which trackers know the run again
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from mercat.training.loop.weights import learning, put


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """What one epoch brought: means over the train rows as it went, and figures on the validation part after it."""

    epoch: int
    train: Mapping[str, float]
    validation: Mapping[str, float]


@dataclass(slots=True)
class Place:
    """Where a run stands: `step` batches of `epoch` are done."""

    digest: str  # of everything that shapes the run: settings, data, encoder, seed
    epoch: int = 0
    step: int = 0
    updates: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of figures over the rows of this epoch
    seen: int = 0
    best: float = float("-inf")
    best_epoch: int = -1
    worse: int = 0  # epochs since the best one
    stopped: bool = False
    seconds: float = 0.0
    dtype: str = ""  # the number format that it began in
    history: list[EpochFigures] = field(default_factory=list)

    def add(self, figures: Mapping[str, float], *, rows: int) -> None:
        """Take in what a batch of so many rows gave, as means over them."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * rows
        self.seen += rows

    def means(self) -> dict[str, float]:
        """Return the means over the rows of this epoch so far."""
        return {name: total / self.seen for name, total in self.sums.items()}

    def next_epoch(self) -> None:
        """Stand before the first batch of the next epoch."""
        self.epoch, self.step, self.sums, self.seen = self.epoch + 1, 0, {}, 0


class Checkpoints:
    """The checkpoints of one run in one folder, the last one kept.

    What belongs to another run (another digest) is never read; `foreign` says that some was found. `on_save` is called
    after each that was written.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self.digest, self.foreign = folder, digest, False
        self.on_save: Callable[[], None] = lambda: None

    def save(
        self,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        place: Place,
        *,
        steering: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Write everything beside the last checkpoint, then point to it; then remove the last one."""
        name = f"step-{place.updates:08d}-{place.epoch:04d}"
        target, temporary = self.folder / name, self.folder / f".new-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _save(temporary / "model.safetensors", learning(model))
        _save(temporary / "optimiser.safetensors", {**_moments(model, optimiser), **_random_state(model)})
        if steering is not None:
            _save(temporary / "steering.safetensors", steering)
        (temporary / "state.json").write_text(json.dumps(asdict(place)))
        for path in temporary.iterdir():
            _fsync(path)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        _write(self.folder / "latest", name)
        for old in self.folder.glob("step-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        self.on_save()

    @property
    def key(self) -> str:
        """Return what stands for this run alone: the same when it goes on, another when it is begun again."""
        path = self.folder / "key"
        if not (self.ready and path.is_file()):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, uuid4().hex[:12])
        return path.read_text()

    @property
    def ready(self) -> bool:
        """Whether there is a checkpoint of this run to go on from."""
        folder = self.latest
        if folder is None:
            return False
        mine = bool(json.loads((folder / "state.json").read_text())["digest"] == self.digest)
        self.foreign = not mine
        return mine

    def load(self, model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> Place | None:
        """Bring model, optimiser and random state back to the last checkpoint; None if there is none of this run."""
        folder = self.latest
        if folder is None or not self.ready:
            return None
        fields: dict[str, Any] = json.loads((folder / "state.json").read_text())
        put(model, _load(folder / "model.safetensors"))
        saved = _load(folder / "optimiser.safetensors")
        _put_moments(model, optimiser, saved)
        _put_random_state(model, saved)
        history = [EpochFigures(**figures) for figures in fields.pop("history")]
        return Place(**fields, history=history)

    def load_steering(self) -> dict[str, torch.Tensor]:
        """Return what was saved as `steering` with the last checkpoint, of the shapes that it had."""
        folder = self.latest
        return _load(folder / "steering.safetensors") if folder else {}

    def save_best(self, model: torch.nn.Module) -> None:
        """Keep the weights of the best epoch so far."""
        self._replace("best.safetensors", model)

    def load_best(self, model: torch.nn.Module) -> None:
        """Bring the model to its best epoch."""
        put(model, _load(self.folder / "best.safetensors"))

    def _replace(self, name: str, model: torch.nn.Module) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{name}"
        _save(temporary, learning(model))
        _fsync(temporary)
        temporary.replace(self.folder / name)

    def save_epoch(self, model: torch.nn.Module, epoch: int, *, last: int) -> None:
        """Keep the weights after this epoch, and only those of the `last` epochs."""
        self._replace(f"epoch-{epoch:04d}.safetensors", model)
        for old in sorted(self.folder.glob("epoch-*.safetensors"))[:-last]:
            old.unlink()

    def forget_epochs(self) -> None:
        """Remove kept epochs and the best one, which are of another run."""
        for path in (*self.folder.glob("epoch-*.safetensors"), self.folder / "best.safetensors"):
            path.unlink(missing_ok=True)

    def load_average(self, model: torch.nn.Module) -> int:
        """Bring the model to the mean of the kept epochs' weights; return how many there were."""
        kept = sorted(self.folder.glob("epoch-*.safetensors"))
        mean = {name: torch.zeros_like(weight) for name, weight in learning(model).items()}
        for path in kept:
            for name, weight in _load(path).items():
                mean[name] += weight.to(mean[name].device) / len(kept)
        put(model, mean)
        return len(kept)

    @property
    def latest(self) -> Path | None:
        """The folder of the last checkpoint, of whatever run; None without one."""
        pointer = self.folder / "latest"
        if not pointer.is_file():
            return None
        folder = self.folder / pointer.read_text().strip()
        return folder if folder.is_dir() else None


def _moments(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    found = {}
    for name, weight in model.named_parameters():
        for key, value in optimiser.state.get(weight, {}).items():
            found[f"{key}/{name}"] = torch.as_tensor(value)
    return found


def _put_moments(model: torch.nn.Module, optimiser: torch.optim.Optimizer, saved: Mapping[str, torch.Tensor]) -> None:
    for name, weight in model.named_parameters():
        state = {key: saved[f"{key}/{name}"] for key in ("exp_avg", "exp_avg_sq", "step") if f"{key}/{name}" in saved}
        if state:
            optimiser.state[weight] = {key: value.to(weight.device) for key, value in state.items()}


def _random_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {"random/cpu": torch.get_rng_state()}
    device = next(model.parameters()).device
    if device.type == "cuda":
        found["random/cuda"] = torch.cuda.get_rng_state(device)
    return found


def _put_random_state(model: torch.nn.Module, saved: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(saved["random/cpu"])
    device = next(model.parameters()).device
    if device.type == "cuda" and "random/cuda" in saved:
        torch.cuda.set_rng_state(saved["random/cuda"], device)


def _save(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(path))


def _load(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(str(path)))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    _fsync(temporary)
    temporary.replace(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
