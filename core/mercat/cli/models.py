"""`mercat models`: what each encoder is and what it runs on."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened

app = command_app()


@app.command()
def models(
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    load: Annotated[bool, typer.Option("--load", help="Load the weights, to state what they really run as.")] = False,
    json: JsonOption = False,
) -> None:
    """Show every configured encoder: model, backend, device, dimensions, fingerprint."""
    with opened(config, set_) as workspace:
        rows = []
        for name in workspace.config.sections("encoders"):
            encoder = workspace.get("encoders", name)
            if load:
                encoder.warm_up()
            info = encoder.info()
            rows.append({"name": name, **{key: getattr(info, key) for key in info.__dataclass_fields__}})
    columns = (
        "name",
        "model",
        "backend",
        "device",
        "dtype",
        "dimensions",
        "max_tokens",
        "parameters",
        "fingerprint",
        "note",
    )
    emit(rows, as_json=json, columns=columns, title="Encoders")
