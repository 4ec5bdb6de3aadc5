"""How far a run is: a line in the terminal, or silence."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


def silent(stage: str, done: int, total: int, **figures: float) -> None:
    """A `Progress` that says nothing."""


class RichProgress:
    """A `Progress` that draws one bar per stage, with the figures behind it. Use it in a `with` block.

    A figure whose name ends in `_s` is shown as a time.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bars: dict[str, TaskID] = {}
        self._drawn = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )

    def __enter__(self) -> RichProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._drawn.stop()

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        shown = "  ".join(f"{_word(name)} {_figure(name, value)}" for name, value in figures.items())
        if stage not in self._bars:
            self._drawn.start()  # not before there is something to draw
            self._bars[stage] = self._drawn.add_task(stage, total=total, figures=shown)
        self._drawn.update(self._bars[stage], completed=done, total=total, figures=shown)


def _word(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


def _figure(name: str, value: float) -> str:
    if name.endswith("_s"):
        return f"{int(value) // 60}:{int(value) % 60:02d}"
    return f"{value:.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}"
