"""`mercat index`: the search indexes, which are derived from the store and can always be rebuilt."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say, shown

app = command_app(help="Build, inspect or move the search indexes.")


@app.command()
def build(
    retriever: Annotated[list[str] | None, typer.Argument(help="Sections of [retrievers]; all by default.")] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Throw the index away and encode every row again.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Bring indexes up to date with the store; only rows that changed are encoded."""
    from mercat.cli.reports import bars
    from mercat.jobs import refresh_all

    with opened(config, set_) as workspace, bars(quiet=json) as progress:
        done = refresh_all(workspace, names=retriever, anew=anew, progress=progress)
    rows = [
        {"retriever": name, "upserted": r.upserted, "deleted": r.deleted, "sequence": r.sequence}
        for name, r in done.items()
    ]
    emit(rows, as_json=json, title="Indexes")


@app.command()
def info(config: ConfigOption = DEFAULT_CONFIG, set_: SetOption = None, json: JsonOption = False) -> None:
    """Show what each index is: backend, kind, rows, the memory to expect, the encoder whose vectors it holds."""
    with opened(config, set_) as workspace:
        rows = []
        for name in workspace.config.sections("retrievers"):
            retriever = workspace.get("retrievers", name)
            rows += [{"retriever": name, **row} for row in _infos(retriever)]
    emit(rows, as_json=json, title="Indexes")


@app.command()
def move(
    retriever: Annotated[str, typer.Argument(help="The section of [retrievers] whose index moves.")],
    to: Annotated[str, typer.Argument(help="The section of [indexes] that receives the vectors.")],
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the vectors of one index into another without encoding again. Running it twice changes nothing."""
    from mercat.cli.reports import bars
    from mercat.jobs import move_index

    with opened(config, set_) as workspace, bars(quiet=json) as progress:
        moved = move_index(workspace, retriever, to, progress=progress)
    if json:
        emit(
            {"retriever": retriever, "index": to, "upserted": moved.upserted, "unchanged": moved.unchanged},
            as_json=True,
        )
        return
    named = shown(f'[retrievers.{retriever}] index = "{to}"')
    say(f"Moved {moved.upserted} rows, {moved.unchanged} were there. Now name it: {named}")


def _infos(retriever: object) -> list[dict[str, object]]:
    found = retriever.infos() if hasattr(retriever, "infos") else []
    return [{**{name: getattr(info, name) for name in info.__dataclass_fields__}, **_expected(info)} for info in found]


def _expected(info: Any) -> dict[str, object]:
    """Say what memory the formulas expect once all of an index was searched; nothing of an empty or unknown one."""
    from mercat.indexes.sizes import size, structure_of

    if info.backend not in ("exact", "faiss") or not info.rows:
        return {}
    wanted = size(structure_of(info.kind, info.rows, info.dimensions), info.rows, info.dimensions)
    return {"expected_mb": round(wanted.memory_bytes / 1e6, 1)}
