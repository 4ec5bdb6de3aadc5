"""`mercat train`: run recipes, keep what they made."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say, shown

app = command_app()


@app.command()
def train(
    name: Annotated[list[str] | None, typer.Argument(help="Sections of [recipes]; all of them by default.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Use another routine, such as full or lora.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of everything random.")] = 0,
    trials: Annotated[int, typer.Option(min=0, help="First try so many parameters on the validation part.")] = 0,
    space: Annotated[
        list[str] | None, typer.Option(help="What to try: learning_rate=1e-5..1e-3:log, or epochs=2,3,4.")
    ] = None,
    metric: Annotated[str, typer.Option(help="The validation figure by which a trial is best.")] = "accuracy",
    promote: Annotated[bool, typer.Option(help="Let services use the new version at once.")] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train and keep the artifact with its report. A run that was killed goes on where it stood."""
    from mercat.cli.reports import bars, show_report, show_search
    from mercat.jobs import search_recipe, train_recipe

    lines = _space(space or [])
    if lines and not trials:
        raise typer.BadParameter("--space says what to try, --trials how often: --trials 20")

    with opened(config, set_) as workspace:
        names = name or list(workspace.config.sections("recipes"))
        artifacts = []
        for section in names:
            options: dict[str, Any] = {"use": recipe, "seed": seed}
            with bars(quiet=json) as progress:
                if trials:
                    found = search_recipe(
                        workspace, section, trials=trials, space=lines, metric=metric, progress=progress, **options
                    )
                    options["parameters"] = found.best.parameters
                artifact = train_recipe(workspace, section, promote=promote, progress=progress, **options)
            artifacts.append(artifact)
            if trials and not json:
                show_search(section, found)
            if not json:
                show_report(artifact)
    if json:
        emit(artifacts, as_json=True)
    elif not artifacts:
        say("Nothing to train: mercat.toml has no " + shown("[recipes.…]") + " section.")


def _space(lines: list[str]) -> dict[str, str]:
    """Read NAME=VALUES. Raises typer.BadParameter for another form."""
    found = dict(line.partition("=")[::2] for line in lines)
    if wrong := [name for name, values in found.items() if not values]:
        raise typer.BadParameter(f"--space {wrong[0]} has no values: --space learning_rate=1e-5..1e-3:log")
    return found
