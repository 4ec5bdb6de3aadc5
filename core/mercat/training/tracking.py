"""Who else is told of a run's figures: TensorBoard, Weights & Biases, or anything with the same three methods."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from mercat.errors import ConfigError, missing_extra
from mercat.training.base import Progress


class Tracker(Protocol):
    """Takes figures of one run after the other. `step` counts updates within a stage."""

    def begin(self, run: str) -> None:
        """Hear whose figures come next."""
        ...

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

    def begin(self, run: str) -> None:
        """The folder says which run it is."""

    def log(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Write each figure under `stage/name`."""
        for name, value in figures.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


class Wandb:
    """Writes runs for Weights & Biases into the folder `wandb` of the workspace.

    "offline" sends nothing; `wandb sync FOLDER` does that later. "online" sends figures as they come, to the account
    that `wandb login` has set up. Raises ConfigError for another mode, MissingExtra where the package is not installed.
    """

    def __init__(
        self, workspace_folder: Path, *, project: str = "mercat", mode: Literal["offline", "online"] = "offline"
    ) -> None:
        if mode not in ("offline", "online"):
            raise ConfigError(f"mode = '{mode}'", "Known: offline, online", "mode = 'offline'")
        if find_spec("wandb") is None:
            raise missing_extra("use = 'wandb'", "wandb", "wandb")
        self._folder, self._project, self._mode = workspace_folder, project, mode
        self._run: Any = None

    def begin(self, run: str) -> None:
        """Open a run of this name."""
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self._project,
            name=run,
            dir=str(self._folder),
            mode=self._mode,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True
            ),
        )

    def log(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Keep each figure as `stage/name`, beside `stage/step`."""
        self._run.log({f"{stage}/step": step, **{f"{stage}/{name}": value for name, value in figures.items()}})

    def close(self) -> None:
        """Write out what is left."""
        if self._run is not None:
            self._run.finish()
            self._run = None


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
