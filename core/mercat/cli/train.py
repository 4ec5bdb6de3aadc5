"""`mercat train`: run recipes, keep what they made."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say, shown

if TYPE_CHECKING:
    from mercat.artifacts import Artifact
    from mercat.compute.world import World

app = command_app()


class Place(StrEnum):
    """Where several processes run."""

    processes = "processes"
    ray = "ray"


@dataclass(frozen=True)
class _Plan:
    """What was asked for, as each of several processes is told."""

    config: Path
    overrides: list[str] | None
    names: list[str]
    options: dict[str, Any]  # of `train_recipe` and `search_recipe`
    promote: bool
    search: dict[str, Any]  # further ones of `search_recipe`; empty: no search
    quiet: bool


@app.command()
def train(
    name: Annotated[list[str] | None, typer.Argument(help="Sections of [recipes]; all of them by default.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Use another routine, such as full or lora.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The seed of everything random, instead of the section's.")
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="First try so many parameters on the validation part.")] = 0,
    space: Annotated[
        list[str] | None, typer.Option(help="What to try: learning_rate=1e-5..1e-3:log, or epochs=2,3,4.")
    ] = None,
    metric: Annotated[str, typer.Option(help="The validation figure by which a trial is best.")] = "accuracy",
    promote: Annotated[bool, typer.Option(help="Let services use the new version at once.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Let so many processes share each batch.")] = 1,
    on: Annotated[Place, typer.Option(help="Where they run: on this machine, or where Ray places them.")] = (
        Place.processes
    ),
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it will need, from trying some of it.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train and keep the artifact with its report. A run that was killed goes on where it stood.

    Under torchrun each process takes its part: torchrun --nproc-per-node 2 -m mercat train NAME.
    """
    from mercat.compute.world import joined

    lines = _space(space or [])
    if lines and not trials:
        raise typer.BadParameter("--space says what to try, --trials how often: --trials 20")
    if trials and (workers > 1 or "WORLD_SIZE" in os.environ):
        raise typer.BadParameter("--trials are made by one process: search first, then train with --workers")
    if estimate:
        _estimate(config, set_, name or [], {"use": recipe, "seed": seed}, as_json=json)
        return
    search = {"trials": trials, "space": lines, "metric": metric} if trials else {}
    plan = _Plan(config, set_, name or [], {"use": recipe, "seed": seed}, promote, search, quiet=json)
    if workers > 1:
        artifacts, first = _by_several(plan, workers, on), True
    else:
        with joined() as world:
            artifacts, first = _run(plan, world), world.first
    if json and first:
        emit(artifacts, as_json=True)
    elif first and not artifacts:
        say("Nothing to train: mercat.toml has no " + shown("[recipes.…]") + " section.")


def _run(plan: _Plan, world: World, *, tell: bool = True) -> list[Artifact]:
    """Do the part of one process; the first one draws bars and, if it is to tell, shows reports."""
    from mercat.cli.reports import bars, show_estimate, show_report, show_search
    from mercat.jobs import search_recipe, train_recipe

    artifacts, tell = [], tell and world.first and not plan.quiet
    with opened(plan.config, plan.overrides) as workspace:
        for section in plan.names or list(workspace.config.sections("recipes")):
            options = dict(plan.options)
            with bars(quiet=plan.quiet or not world.first) as progress:
                if plan.search:
                    found = search_recipe(workspace, section, progress=progress, **plan.search, **options)
                    options["parameters"] = found.best.parameters
                if not plan.quiet:
                    options["expect"] = partial(show_estimate, section)
                artifact = train_recipe(
                    workspace, section, promote=plan.promote, progress=progress, world=world, **options
                )
            artifacts.append(artifact)
            if plan.search and tell:
                show_search(section, found)
            if tell:
                show_report(artifact)
    return artifacts


def _estimate(
    config: Path, overrides: list[str] | None, names: list[str], options: dict[str, Any], *, as_json: bool
) -> None:
    """Say what training would need; nothing is trained."""
    from mercat.cli.reports import show_estimate
    from mercat.jobs import estimate_recipe

    with opened(config, overrides) as workspace:
        sections = names or list(workspace.config.sections("recipes"))
        found = {section: estimate_recipe(workspace, section, **options) for section in sections}
    if as_json:
        emit({name: each and {**asdict(each), "seconds": each.seconds} for name, each in found.items()}, as_json=True)
        return
    for name, each in found.items():
        show_estimate(name, each)


def _by_several(plan: _Plan, workers: int, on: Place) -> list[Artifact]:
    """Let other processes do it; show the reports here."""
    from mercat.cli.reports import show_report
    from mercat.compute.fit import fit

    with opened(plan.config, plan.overrides) as workspace:
        made = fit(partial(_part, plan), workers=workers, on=on.value, notes=workspace.folder / "training" / ".ray")
        artifacts = [workspace.artifacts.open(name, version) for name, version in made]
    for artifact in artifacts if not plan.quiet else ():
        show_report(artifact)
    return artifacts


def _part(plan: _Plan, world: World) -> list[list[str]]:
    """Train in one of several processes; return names and versions."""
    return [[artifact.name, artifact.version] for artifact in _run(plan, world, tell=False)]


def _space(lines: list[str]) -> dict[str, str]:
    """Read NAME=VALUES. Raises typer.BadParameter for another form."""
    found = dict(line.partition("=")[::2] for line in lines)
    if wrong := [name for name, values in found.items() if not values]:
        raise typer.BadParameter(f"--space {wrong[0]} has no values: --space learning_rate=1e-5..1e-3:log")
    return found
