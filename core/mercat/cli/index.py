"""`mercat index`: the search indexes, which are derived from the store and can always be rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say, shown

if TYPE_CHECKING:
    from mercat.jobs.switching import Prepared
    from mercat.workspace import Workspace

app = command_app(help="Build, inspect, move or switch the search indexes.")


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
    """Show what each index is: backend, kind, rows, memory to expect, whose vectors, what answered before a switch."""
    from mercat.jobs import serving_of

    with opened(config, set_) as workspace:
        rows = []
        for name in workspace.config.sections("retrievers"):
            serving = serving_of(workspace, name)
            record = serving.record() if serving else None
            switched = {"before": str(record.before[-1])} if record and record.before else {}
            rows += [{"retriever": name, **row, **switched} for row in _infos(workspace.get("retrievers", name))]
    emit(rows, as_json=json, title="Indexes")


Least = Annotated[float, typer.Option(help="The least overlap and filtered recall to switch with.", min=0, max=1)]
Switch = Annotated[bool, typer.Option("--switch", help="Switch when the comparison is good enough.")]
Questions = Annotated[int, typer.Option(help="How many stored texts are asked for the comparison.", min=1)]


@app.command()
def move(
    retriever: Annotated[str, typer.Argument(help="The section of [retrievers] whose index moves.")],
    to: Annotated[str, typer.Argument(help="The section of [indexes] that receives the vectors.")],
    switch: Switch = False,
    least: Least = 0.95,
    questions: Questions = 200,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the vectors of one index into another without encoding again, compare both, and switch if that is asked for.

    Running it again writes only what is new. Servers that run go on answering, and take the switch up by themselves.
    """
    from mercat.cli.reports import bars
    from mercat.jobs import move_index

    with opened(config, set_) as workspace:
        with bars(quiet=json) as progress:
            prepared = move_index(workspace, retriever, to, progress=progress, questions=questions)
        _finish(workspace, prepared, f"mercat index move {retriever} {to}", switch, least, json)


@app.command()
def swap(
    retriever: Annotated[str, typer.Argument(help="The section of [retrievers] whose encoder changes.")],
    encoder: Annotated[str, typer.Argument(help="The section of [encoders] that shall encode from then on.")],
    index: Annotated[str, typer.Option(help="The section of [indexes] for its vectors; by default one beside.")] = "",
    switch: Switch = False,
    least: Least = 0.95,
    questions: Questions = 200,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Encode all rows with another encoder beside the index that answers, compare, and switch if that is asked for.

    Encoder and index are switched together; a question is never searched in vectors of another encoder. The overlap
    says how much answers will change, not which are better. What was killed goes on when it is run again.
    """
    from mercat.cli.reports import bars
    from mercat.jobs import swap_encoder

    with opened(config, set_) as workspace:
        with bars(quiet=json) as progress:
            prepared = swap_encoder(workspace, retriever, encoder, index=index, progress=progress, questions=questions)
        named = f" --index {index}" if index else ""
        _finish(workspace, prepared, f"mercat index swap {retriever} {encoder}{named}", switch, least, json)


@app.command()
def back(
    retriever: Annotated[str, typer.Argument(help="The section of [retrievers] that was switched.")],
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Let what answered before the last switch answer again, once it has taken in what came since."""
    from mercat.cli.reports import bars
    from mercat.jobs import switch_back

    with opened(config, set_) as workspace, bars(quiet=json) as progress:
        record = switch_back(workspace, retriever, progress=progress)
    if json:
        emit({"retriever": retriever, "encoder": record.now.encoder, "index": record.now.index}, as_json=True)
        return
    say(shown(f"[retrievers.{retriever}] answers with {record.now} again; running servers follow by themselves"))


def _finish(workspace: Workspace, prepared: Prepared, command: str, wanted: bool, least: float, json: bool) -> None:
    """Show what was prepared and compared, switch if it is wanted, or say what to type for it."""
    from mercat.jobs import switch

    row = _row(prepared)
    if not json:
        emit([row], as_json=False, title="Beside what answers now")
    if wanted:
        switch(workspace, prepared, least=least)
    if json:
        emit({**row, "switched": wanted}, as_json=True)
    elif wanted:
        told = f"[retrievers.{prepared.retriever}] answers with {prepared.then} from now on"
        say(shown(f"{told}; to go back: mercat index back {prepared.retriever}"))
    else:
        say(shown(f"Nothing is switched yet. To switch: {command} --switch"))


def _row(prepared: Prepared) -> dict[str, Any]:
    found, moved = prepared.shadow, prepared.moved
    return {
        "retriever": prepared.retriever,
        "encoder": prepared.then.encoder,
        "index": prepared.then.index,
        **({"upserted": moved.upserted, "unchanged": moved.unchanged, "deleted": moved.deleted} if moved else {}),
        "encoded": prepared.refreshed.upserted,
        "sequence": prepared.refreshed.sequence,
        f"overlap@{found.k}": round(found.overlap, 4),
        "filtered_recall": round(found.filtered_recall, 4),
        "filtered_recall_now": round(found.filtered_recall_now, 4),
        "questions": found.questions,
    }


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
