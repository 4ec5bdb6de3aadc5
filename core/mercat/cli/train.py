"""`mercat train`: run recipes, keep what they made."""

from __future__ import annotations

from typing import Annotated

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
    promote: Annotated[bool, typer.Option(help="Let services use the new version at once.")] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train and keep the artifact with its report. A run that was killed goes on where it stood."""
    from mercat.cli.reports import bars, show_report
    from mercat.jobs import train_recipe

    with opened(config, set_) as workspace:
        names = name or list(workspace.config.sections("recipes"))
        artifacts = []
        for section in names:
            with bars(quiet=json) as progress:
                artifact = train_recipe(workspace, section, use=recipe, seed=seed, promote=promote, progress=progress)
            artifacts.append(artifact)
            if not json:
                show_report(artifact)
    if json:
        emit(artifacts, as_json=True)
    elif not artifacts:
        say("Nothing to train: mercat.toml has no " + shown("[recipes.…]") + " section.")
