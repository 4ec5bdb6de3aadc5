"""`mercat ask`: one question to one service."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mercat.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    SetOption,
    command_app,
    emit,
    opened,
    plain_data,
    say,
    shown,
)

_AROUND, _EXCERPT = 30, 120  # characters before what was found, and in all

app = command_app()


@app.command()
def ask(
    service: Annotated[str, typer.Argument(help="The name of a section of [services].")],
    text: Annotated[str | None, typer.Argument(help="The text of the request, where it has one.")] = None,
    field: Annotated[list[str] | None, typer.Option("--field", "-f", help="Another field: user_id=42, k=5")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Ask a service. The fields are those of its request; `mercat serve` shows them under /docs."""
    fields: dict[str, Any] = {} if text is None else {"text": text}
    for item in field or []:
        key, equals, raw = item.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{item}' has no '='", param_hint="--field")
        fields[key] = _value(raw)
    with opened(config, set_) as workspace:
        answer = workspace.ask(service, **fields)
    emit([answer], as_json=True) if json else _show(plain_data(answer))


def _value(raw: str) -> Any:
    try:
        return json_.loads(raw)
    except json_.JSONDecodeError:
        return raw


def _show(answer: dict[str, Any]) -> None:
    mark = "[yellow]abstains[/yellow]" if answer["abstained"] else "[green]answers[/green]"
    say(f"{mark} with confidence {answer['confidence']:.2f}")
    for name, value in answer.items():
        if name not in ("abstained", "confidence", "evidence", "reasons") and value not in (None, "", [], {}):
            say(f"[bold]{name}[/bold]: {shown(value)}")
    for reason in answer["reasons"]:
        say(f"  because {shown(reason)}")
    for hit in answer["evidence"]:
        label = f" [dim]{shown(hit['label'])}[/dim]" if hit["label"] else ""
        say(f"  {hit['score']:.3f}{label} {shown(hit['title'] or hit['text'][:100])}")
        if hit["spans"]:
            say(f"        {_excerpt(hit['text'], hit['spans'])}")


def _excerpt(text: str, spans: Sequence[Sequence[int]]) -> str:
    """Return the text around what was found, with that in bold."""
    first = max(spans[0][0] - _AROUND, 0)
    last = min(first + _EXCERPT, len(text))
    parts, at = ["…" if first else ""], first
    for start, end in spans:
        if start >= last:
            break
        parts += [shown(text[at:start]), f"[bold]{shown(text[start : min(end, last)])}[/bold]"]
        at = min(end, last)
    return "".join([*parts, shown(text[at:last]), "…" if last < len(text) else ""]).replace("\n", " ")
