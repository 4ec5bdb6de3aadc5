"""`mercat models`: what each encoder and generator is and what it runs on, and exporting one for another runtime."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say, shown

if TYPE_CHECKING:
    from mercat.encoders.exported import Exported
    from mercat.encoders.transformer import Transformer
    from mercat.workspace import Workspace

app = command_app(help="Show encoders and generators and what they run on, or export one.")
_COLUMNS = (
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
    "error",
)
_TITLES = {"encoders": "Encoders", "generators": "Generators"}


class Runtime(StrEnum):
    """What an encoder can be exported for."""

    onnx = "onnx"
    openvino = "openvino"


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    load: Annotated[bool, typer.Option("--load", help="Load the weights, to state what they really run as.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what every encoder and generator runs as, or why it cannot: then the exit code is 1."""
    if context.invoked_subcommand is not None:
        _refuse_options_in_front(context)
        return
    with opened(config, set_) as workspace:
        found = {kind: _infos(workspace, kind, load=load) for kind in _TITLES}
    if json:
        emit([row for rows in found.values() for row in rows], as_json=True)
    for kind, rows in found.items() if not json else ():
        if rows or kind == "encoders":
            emit(rows, as_json=False, columns=_COLUMNS, title=_TITLES[kind])
    errors = [row["error"] for rows in found.values() for row in rows if "error" in row]
    for error in errors:
        typer.echo(error, err=True)
    if errors:
        raise typer.Exit(1)


def _infos(workspace: Workspace, kind: str, *, load: bool) -> list[dict[str, Any]]:
    """Return a row per section of a kind: what it runs as, or the error that says why it cannot."""
    from mercat.errors import MercatError

    rows = []
    for name in workspace.config.sections(kind):
        row: dict[str, Any] = {"name": name, "kind": kind}
        try:
            part = workspace.get(kind, name)
            if load:
                part.warm_up()
            row |= asdict(part.info())
        except MercatError as error:
            row["error"] = " ".join(str(error).splitlines())
        rows.append(row)
    return rows


@app.command()
def export(
    name: Annotated[
        str, typer.Argument(help="The section of [encoders], or an artifact with a body of its own.")
    ] = "default",
    backend: Annotated[Runtime, typer.Option(help="What it shall run on.")] = Runtime.onnx,
    int8: Annotated[bool, typer.Option("--int8", help="Round the weights to int8, per channel; onnx only.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Export an encoder, and keep it only if its vectors are near to the original's.

    Needs torch; what it makes answers without. The cosine to the original must be at least 0.999, with int8 0.98, on
    every one of a set of English and Chinese texts.
    """
    with opened(config, set_) as workspace:
        body = _body(workspace, name, int8=int8)
        encoder = (body or _transformer(workspace, name)).on(backend.value, quantise="int8" if int8 else "")
        made = encoder.export()
    row = _row(name, made)
    if json:
        emit(row, as_json=True)
        return
    emit([row], as_json=False, title="Export")
    if body:
        where = f'the section of [classifiers] that has artifact = "{name}"'
        say(shown(f'Now name it in {where}: backend = "{backend.value}"'))
        return
    quantised = ' and quantise = "int8"' if int8 else ""
    wanted = f'[encoders.{name}] backend = "{backend.value}"{quantised}'
    say(f"Now name it: {shown(wanted)}")
    if int8:
        say("Its vectors are a space of their own: train heads and build indexes with it anew.")


def _body(workspace: Workspace, name: str, *, int8: bool) -> Transformer | None:
    """Return the body that the current version of an artifact brings along; None where `name` is none such."""
    from mercat.encoders.transformer import Transformer
    from mercat.errors import ConfigError

    if name in workspace.config.sections("encoders") or name not in workspace.artifacts.names():
        return None
    artifact = workspace.artifacts.open(name)
    asked = f"An export of the artifact '{name}'"
    if not (artifact.folder / "encoder").is_dir():
        found = f"Version {artifact.version} by '{artifact.recipe}' has no body of its own"
        raise ConfigError(asked, found, "mercat models export, for the encoder that it shares")
    if int8:
        found = "Its head was fitted to the vectors of the body as it is; those of int8 are others"
        raise ConfigError(f"{asked} with --int8", found, 'use = "quantise" in a section of [recipes]')
    return Transformer.from_folder(artifact.folder / "encoder", workspace_folder=workspace.folder)


def _transformer(workspace: Workspace, name: str) -> Transformer:
    from mercat.encoders.cache import unwrap
    from mercat.encoders.transformer import Transformer
    from mercat.errors import ConfigError

    encoder = unwrap(workspace.get("encoders", name))
    if not isinstance(encoder, Transformer):
        found = f"It is made by '{workspace.config.section('encoders', name).use}'"
        raise ConfigError(f"An export of the encoder '{name}'", found, 'a section with use = "transformer"')
    return encoder


def _row(name: str, made: Exported) -> dict[str, Any]:
    """Return what was made, and the figures of the number format that came out farthest from the original."""
    from mercat.encoders.speed import speed_of

    dtype, figures = min(made.parity.items(), key=lambda each: each[1]["least"])
    size = sum(path.stat().st_size for path in made.folder.iterdir())
    return {
        "name": name,
        "backend": made.backend,
        "dtype": dtype,
        "least_cosine": figures["least"],
        "mean_cosine": figures["mean"],
        "speed": str(speed_of(made.speed, backend=made.backend, dtype=str(made.speed.get("dtype"))) or "not measured"),
        "size_mb": round(size / 1e6, 1),
        "folder": str(made.folder),
        "fingerprint": made.fingerprint,
    }


def _refuse_options_in_front(context: typer.Context) -> None:
    """Raise a usage error for options of `models` itself before a command: the command would not see them."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            message = f"{parameter.opts[0]} belongs behind '{context.invoked_subcommand}'"
            raise typer.BadParameter(message, ctx=context)
