"""Who else is told of a run's figures: TensorBoard, Weights & Biases, or anything with the same three methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

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


@runtime_checkable
class Resuming(Protocol):
    """A tracker that keeps a run apart from others of its name, and goes on with it after an interruption."""

    def resume(self, run: str, key: str) -> None:
        """Hear whose figures come next, in place of `begin`; a run that goes on has the `key` that it began with."""
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

    def flush(self) -> None:
        """Write out what is held back."""
        self._writer.flush()

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


class Wandb:
    """Writes runs for Weights & Biases into the folder `wandb` of the workspace.

    "offline" sends nothing; `wandb sync FOLDER` does that later. "online" sends figures as they come, to the account
    that `wandb login` has set up. A run that goes on after an interruption keeps its id and its steps, which are the
    updates of the stage "train"; offline it is in a second file, and `wandb sync --append` joins the two. Raises
    ConfigError for another mode, MissingExtra where the package is not installed.
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
        self._updates = 0

    def begin(self, run: str) -> None:
        """Open a new run of this name."""
        self._open(run)

    def resume(self, run: str, key: str) -> None:
        """Open the run of this name and key, or go on with it."""
        self._open(run, id=key, resume="allow" if self._mode == "online" else None)

    def _open(self, run: str, **which: Any) -> None:
        import wandb

        self._updates = 0

        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self._project,
            name=run,
            dir=str(self._folder),
            mode=self._mode,
            reinit="create_new",
            **which,
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True
            ),
        )

    def log(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Keep each figure as `stage/name`, beside `stage/step`."""
        self._updates = step if stage == "train" else self._updates
        named = {f"{stage}/{name}": value for name, value in figures.items()}
        self._run.log({f"{stage}/step": step, **named}, step=self._updates)

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


class Tracked:
    """A `Progress` that tells trackers as well, and each point once, however often a run is interrupted.

    Figures wait until `release` is called, when a checkpoint has what they are of: a run that goes on after a kill goes
    on from there, and makes the later ones again.
    """

    def __init__(self, progress: Progress, trackers: Sequence[Tracker]) -> None:
        self._progress, self._trackers = progress, trackers
        self._waiting: list[tuple[str, int, Mapping[str, float]]] = []

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        self._progress(stage, done, total, **figures)
        if self._trackers:
            self._waiting.append((stage, done, figures))

    def release(self) -> None:
        """Tell the trackers what waits."""
        for tracker in self._trackers:
            for point in self._waiting:
                tracker.log(*point)
            if isinstance(tracker, TensorBoard):
                tracker.flush()  # what it holds back would be lost by a kill, and is not told again
        self._waiting.clear()
