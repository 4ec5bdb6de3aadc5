"""`mercat demo`: the main job of every installed vertical, on the sample data that it ships or on public sets."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mercat.cli.common import JsonOption, command_app, emit, plain_data, say, shown, to_json
from mercat.cli.usage import measured

if TYPE_CHECKING:
    from mercat.training.base import Evaluation
    from mercat.workspace import Workspace

app = command_app()
VERTICALS = ("customer-service", "financial-sentiment", "recommendation")


@dataclass(frozen=True, slots=True)
class Vertical:
    """A plugin that ships a demo: its sample files, an example configuration, and questions to ask."""

    name: str
    folder: Path

    @property
    def title(self) -> str:
        return self.name.replace("-", " ").capitalize()

    def questions(self, *, real: bool) -> tuple[str, list[dict[str, Any]]]:
        """Return the service and the requests to put to it."""
        path = self.folder / "demo" / ("real" if real else "") / "ask.toml"
        data = tomllib.loads((path if path.is_file() else self.folder / "demo" / "ask.toml").read_text("utf-8"))
        return data["service"], data["ask"]


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A folder of public data sets to run on instead.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the workspace is left.")] = Path("demo-workspace"),
    only: Annotated[list[str] | None, typer.Option(help="Run this vertical alone; may be given again.")] = None,
    json: JsonOption = False,
) -> None:
    """Ingest, train, evaluate on held-out rows and answer, for each installed vertical; leaves a workspace to serve."""
    verticals = chosen_verticals(only or ())
    with measured() as usage:
        results, key, password = _run_all(verticals, folder, data, quiet=json)
    figures = {"results": results, "wall_s": usage.wall_s, "peak_memory_gb": usage.peak_memory_gb}
    (folder / "report.json").write_text(to_json(figures), encoding="utf-8")
    if json:
        typer.echo(to_json({"workspace": folder, **figures}))
        return
    _summary(results)
    memory = "" if usage.peak_memory_gb is None else f", at most {usage.peak_memory_gb:.2f} GB of memory"
    say(f"\nIt took {usage.wall_s:,.0f} s{memory}. All figures are in {shown(folder / 'report.json')}")
    say(f"The workspace is [bold]{shown(folder)}[/bold]; its API key, shown only now: [green]{key}[/green]")
    say(f"Serve it: [bold]make serve[/bold], or mercat serve --config {shown(folder / 'mercat.toml')}")
    say(f"Then open http://127.0.0.1:8765 and sign in as [bold]demo[/bold] with [green]{password}[/green]")


def _run_all(
    verticals: list[Vertical], folder: Path, data: Path | None, *, quiet: bool
) -> tuple[dict[str, Evaluation], str, str]:
    """Run every vertical in a fresh workspace; return the evaluations by recipe, its API key and its password."""
    from mercat.workspace import Workspace

    results: dict[str, Evaluation] = {}
    with Workspace.open(prepare(verticals, folder, data)) as workspace:
        workspace.store.upgrade()
        key, _ = workspace.store.accounts.create_key("demo", ["ask", "operate", "admin"])
        for number, vertical in enumerate(verticals, start=1):
            if not quiet:
                say(f"\n[bold cyan]{number}/{len(verticals)}  {vertical.title}[/bold cyan]")
            results |= run_vertical(workspace, vertical, quiet=quiet, real=data is not None)
        return results, key, _account(workspace)


def installed_verticals() -> Iterator[Vertical]:
    """Yield the verticals of mercat whose plugin is installed and ships a demo; nothing is imported."""
    from mercat.plugins import discover

    found = discover()
    for name in VERTICALS:
        spec = find_spec(found[name].module.partition(".")[0]) if name in found else None
        if spec and spec.origin and (Path(spec.origin).parent / "demo").is_dir():
            yield Vertical(name, Path(spec.origin).parent)


def chosen_verticals(names: Sequence[str]) -> list[Vertical]:
    """Return the installed verticals of these names, all of them without names. Raises UnknownName."""
    from mercat.errors import unknown_name

    installed = {vertical.name: vertical for vertical in installed_verticals()}
    if unknown := [name for name in names if name not in installed]:
        raise unknown_name("vertical", unknown[0], installed, next="mercat plugins")
    return [vertical for vertical in installed.values() if vertical.name in names or not names]


def prepare(verticals: list[Vertical], folder: Path, data: Path | None) -> Path:
    """Write configuration and data files into a fresh folder; return the path of the configuration."""
    from mercat.cli.init import starting_config
    from mercat.errors import ConfigError

    if folder.exists() and not (folder / ".mercat-demo").is_file():
        raise ConfigError(f"{folder} cannot hold the demo", "It is not of an earlier demo", "--folder another")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".mercat-demo").touch()
    for vertical in verticals:
        for path in (vertical.folder / "demo").glob("*.*"):
            if path.suffix in (".csv", ".toml") and path.stem not in ("ask", "real"):
                shutil.copy2(path, folder)
        if data is not None:
            for path in (vertical.folder / "demo" / "real").glob("*.toml"):
                shutil.copy2(path, folder)
    if data is not None:
        from mercat.cli.public_data import write_public_data

        write_public_data(data, folder)
    first = [vertical.folder / "demo" / "real.toml" for vertical in verticals] if data is not None else []
    config = folder / "mercat.toml"
    config.write_text(starting_config([v.name for v in verticals], first=first), encoding="utf-8")
    return config


def run_vertical(workspace: Workspace, vertical: Vertical, *, quiet: bool, real: bool) -> dict[str, Evaluation]:
    """Ingest, train, evaluate and answer for one vertical; return the evaluations by recipe."""
    from mercat.cli.reports import bars, show_accounts, show_evaluation
    from mercat.jobs import evaluate_recipe, ingest_source, refresh_all, run_tasks, train_recipe

    mine = _sections(vertical)
    results = {}
    with bars(quiet=quiet) as progress:
        accounts = {name: ingest_source(workspace, name, progress=progress) for name in mine["sources"]}
        for name in mine["recipes"]:
            train_recipe(workspace, name, progress=progress)
            results[name] = evaluate_recipe(workspace, name, progress=progress)
        if mine["tasks"]:
            run_tasks(workspace, progress=progress)
        if mine["retrievers"]:
            refresh_all(workspace, names=mine["retrievers"], progress=progress)
    service, requests = vertical.questions(real=real)
    answers = [(fields, workspace.ask(service, **_timed(fields))) for fields in requests]
    if not quiet:
        show_accounts(accounts)
        for name, result in results.items():
            show_evaluation(name, result)
        for fields, answer in answers:
            _show_answer(fields, plain_data(answer))
    return results


def _sections(vertical: Vertical) -> dict[str, list[str]]:
    example = tomllib.loads((vertical.folder / "example.toml").read_text("utf-8"))
    return {kind: list(example.get(kind, {})) for kind in ("sources", "recipes", "tasks", "retrievers")}


def _timed(fields: dict[str, Any]) -> dict[str, Any]:
    from datetime import datetime

    return {**fields, "at": datetime.fromisoformat(fields["at"])} if "at" in fields else fields


def _show_answer(fields: dict[str, Any], answer: dict[str, Any]) -> None:
    asked = "  ".join(str(value) for value in fields.values())
    said = (
        answer["value"]
        if not answer.get("items")
        else "; ".join(i["title"] or i["item_id"] for i in answer["items"][:5])
    )
    mark = "[yellow]~[/yellow]" if answer["abstained"] else "[green]✓[/green]"
    say(f"\n  [bold]{shown(asked)}[/bold]\n  {mark} {shown(said)} [dim]({answer['confidence']:.2f})[/dim]")
    for reason in answer["reasons"]:
        say(f"    [dim]{shown(reason)}[/dim]")
    for hit in answer["evidence"][:3]:
        say(f"    [dim]see: {shown(hit['title'] or hit['text'][:80])}[/dim]")


def _account(workspace: Workspace) -> str:
    import secrets

    from mercat.web.passwords import hash_password

    password = secrets.token_urlsafe(9)
    workspace.store.accounts.set_user("demo", hash_password(password), ["ask", "operate", "admin"])
    return password


def _summary(results: dict[str, Evaluation]) -> None:
    rows = []
    for name, result in results.items():
        for metric in _headline(result):
            mine, theirs = result.metrics[metric], result.baseline_metrics.get(metric)
            rows.append(
                {
                    "recipe": name,
                    "test metric": metric,
                    "mercat": str(mine),
                    "baseline": str(theirs or ""),
                    "which is": result.baseline,
                    "rows": mine.n,
                }
            )
    say()
    emit(rows, as_json=False, title="What came of it, with 95 % intervals")


def _headline(result: Evaluation) -> list[str]:
    return [name for name in ("accuracy", "macro_f1", "ndcg@10", "coverage@10") if name in result.metrics]
