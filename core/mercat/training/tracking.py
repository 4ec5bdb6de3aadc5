"""Who else is told of a run's figures: TensorBoard, or anything with the same two methods."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from mercat.errors import missing_extra
from mercat.training.base import Progress


class Tracker(Protocol):
    """Takes figures of a run as they come. `step` counts updates within a stage."""

    def log(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Take figures of a stage, by name."""
        ...

    def close(self) -> None:
        """Write out what is left; no figures come after it."""
        ...


class TensorBoard:
    """Writes event files that `tensorboard --logdir FOLDER` shows. A resumed run goes on in the same folder."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("tensorboard = true", "tensorboard", "tensorboard") from error
        self._writer = SummaryWriter(str(folder))

    def log(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Write each figure under `stage/name`."""
        for name, value in figures.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


def require_tensorboard() -> None:
    """Raise MissingExtra where TensorBoard is not installed: before anything is read, not after an hour."""
    if find_spec("tensorboard") is None:
        raise missing_extra("tensorboard = true", "tensorboard", "tensorboard")


def board_of(scratch: Path) -> Path:
    """Return the folder of a run's event files: `tensorboard/NAME` beside the folder of all scratch folders.

    In a workspace that is WORKSPACE/tensorboard/NAME. Unlike the scratch folder it stays after a success.
    """
    return scratch.parent.parent / "tensorboard" / scratch.name


def tracked(progress: Progress, trackers: list[Tracker]) -> Progress:
    """Return a `Progress` that tells the trackers as well."""
    if not trackers:
        return progress

    def tell(stage: str, done: int, total: int, **figures: float) -> None:
        progress(stage, done, total, **figures)
        for tracker in trackers:
            tracker.log(stage, done, figures)

    return tell
