"""`mercat evaluate`: how good an artifact is on rows that training never saw, beside a simple baseline."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened

app = command_app()


@app.command()
def evaluate(
    recipe: Annotated[list[str] | None, typer.Argument(help="Sections of [recipes]; all of them by default.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Score the current artifact of each recipe on its test part, with 95 % bootstrap intervals."""
    from mercat.cli.reports import show_evaluation
    from mercat.jobs import evaluate_recipe

    with opened(config, set_) as workspace:
        names = recipe or list(workspace.config.sections("recipes"))
        results = {name: evaluate_recipe(workspace, name) for name in names}
    if json:
        emit(results, as_json=True)
        return
    for name, result in results.items():
        show_evaluation(name, result)
