"""Write docs/reference and the table of docs/scale.md from the code: `python docs/generate.py`.

`--check` says what is not current.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main

from mercat.cli.app import COMMANDS, GROUPS
from mercat.hooks import Hooks
from mercat.indexes.sizes import expected
from mercat.parts import register_core
from mercat.plugins import Plugins, discover
from mercat.registry import Part, Registry
from mercat.signatures import configurable, hints_of

FOLDER = Path(__file__).with_name("reference")
OWN = ("mercat", "mercat-connectors", "mercat-customer-service", "mercat-financial-sentiment", "mercat-recommendation")
HANDED_IN = {"store", "artifacts", "workspace_folder", "section_name", "config_folder", "clock"}
"""Parameters that the workspace hands in, not the config; see docs/configuration.md."""
SCALE = "../scale.md"
SIZES = ("<!-- sizes: written by docs/generate.py -->", "<!-- /sizes -->")
NOTE = "<!-- Written by docs/generate.py; change the code, then run it again. -->"


def pages() -> dict[str, str]:
    """Return every generated page by file name."""
    reference = {"cli.md": "\n".join(cli()), "hooks.md": "\n".join(hooks()), "parts.md": "\n".join(parts())}
    return {**reference, SCALE: scale((FOLDER / SCALE).read_text(encoding="utf-8"))}


def cli() -> Iterator[str]:
    """Yield the lines of the page of commands."""
    yield from (NOTE, "# Commands", "", "Every command has `--help`; those that print tables have `--json`.")
    yield "Exit codes: 0 done, 1 something that you can mend (one line: asked, found, next), 2 usage."
    for title, names in GROUPS.items():
        yield from ("", f"## {title}")
        for name in names:
            command = typer.main.get_command(import_module(f"mercat.cli.{name}").app)
            yield from _command(f"mercat {name}", command, summary=COMMANDS[name])
    yield ""


def hooks() -> Iterator[str]:
    """Yield the lines of the page of hooks."""
    yield from (
        NOTE,
        "# Hooks",
        "",
        "What a plugin may implement with `@mercat.hookimpl`; how to: [plugins](../plugins.md).",
    )
    for name, function in vars(Hooks).items():
        if name.startswith("mercat_"):
            inner = ", ".join(p for p in inspect.signature(function).parameters if p != "self")
            yield from ("", f"## `{name}({inner})`", "", inspect.getdoc(function) or "")
    yield ""


def parts() -> Iterator[str]:
    """Yield the lines of the page of parts: what may stand after `use =`."""
    registry = full_registry()
    yield from (NOTE, "# Parts", "", "What may stand after `use =`, by kind of section, and the keys that each takes.")
    yield "A key in *italics* takes the name of another section. Defaults are shown; a key without one is needed."
    for kind in registry.kinds():
        rows = [part for part in registry.kind(kind).parts() if part.provider.distribution in OWN]
        if rows:
            yield from ("", f"## `[{kind}.…]`")
        for part in rows:
            keys = _keys(part, registry)
            yield from ("", f"### `{part.name}`", "", f"{part.summary}.", *(("", keys) if keys else ()))
    yield ""


def scale(page: str) -> str:
    """Return the page of sizes with its table as the formulas have it. Raises ValueError without its two marks."""
    before, found, rest = page.partition(SIZES[0])
    _, ended, after = rest.partition(SIZES[1])
    if not found or not ended:
        raise ValueError(f"docs/scale.md needs {SIZES[0]} and {SIZES[1]}")
    return before + "\n".join([SIZES[0], *sizes(), SIZES[1]]) + after


def sizes() -> Iterator[str]:
    """Yield the lines of the table: what kinds of index need at three sizes."""
    names = ("vectors", "kind", "memory, GB", "disk, GB", "build, core hours", "encode, core hours", "answer, ms")
    yield " | ".join(("| " + names[0], *names[1:], "month", "once |"))
    yield f"{'| --- ' * 9}|"
    for rows, word in ((10**6, "1M"), (10**8, "100M"), (10**9, "1B")):
        for kind in ("flat", "HNSW32", "IVF", "int8", "PQ"):
            for shard_rows in (0, 10**6) if rows > 10**6 and kind in ("int8", "PQ") else (0,):
                found = expected(kind, rows, shard_rows=shard_rows)
                name = f"`{kind}`, {rows // shard_rows:,} shards" if shard_rows else f"`{kind}`"
                memory, disk = found.size.memory_bytes / 1e9, found.size.disk_bytes / 1e9
                hours, encoding = found.core_hours, found.encode_core_hours
                numbers = (memory, disk, hours, encoding, 1000 * found.answer_s, found.month, found.once)
                yield " | ".join([f"| {word}", name, *map(_short, numbers)]) + " |"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def full_registry() -> Registry:
    """Return a registry with the parts of the core, its plugins and its connectors."""
    registry = Registry()
    register_core(registry)
    plugins = Plugins(registry)
    plugins.enable(name for name, point in discover().items() if point.dist and point.dist.name in OWN)
    return registry


def _command(path: str, command: Any, *, summary: str = "") -> Iterator[str]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    if inner:
        alone = command.invoke_without_command
        yield from ("", f"### `{path}`", "", (command.callback.__doc__ or "").strip() if alone else summary)
        yield from _options(command) if alone else ()
        for name, each in inner.items():
            yield from _command(f"{path} {name}", each)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    shown = " ".join([path, *(_argument(p) for p in arguments)])
    yield from ("", f"### `{shown}`", "", (command.help or summary).strip())
    yield from _options(command)


def _options(command: Any) -> Iterator[str]:
    rows = [f"| `{_names(p)}` | {(p.help or '').strip()} | {_default(p.default)} |" for p in command.params]
    if rows:
        yield from ("", "| | | default |", "| --- | --- | --- |", *rows)


def _argument(parameter: Any) -> str:
    name = parameter.name.upper() + ("…" if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name.upper())
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _default(value: Any) -> str:
    if value is None or value in (False, "", (), []) or callable(value):
        return ""
    return "on" if value is True else f"`{value}`"


def _keys(part: Part, registry: Registry) -> str:
    factory = part.load()
    hints = hints_of(factory)
    parameters = inspect.signature(factory).parameters
    shown = []
    for name in configurable(factory, registry=registry, given=dict.fromkeys(HANDED_IN, ...)):
        parameter = parameters[name]
        word = f"*`{name}`*" if _is_section(hints.get(name), registry) else f"`{name}`"
        default = "" if parameter.default is inspect.Parameter.empty else f" {_plain(parameter.default)}"
        shown.append(word + default)
    return " · ".join(shown)


def _is_section(hint: Any, registry: Registry) -> bool:
    options = [hint, *getattr(hint, "__args__", ())]
    return any(registry.kind_of(each) or hasattr(each, "answer_many") for each in options)


def _plain(value: Any) -> str:
    if value is None:
        return "(none)"
    return json.dumps(value) if isinstance(value, str | bool | list | tuple) else f"{value:g}"


def main(words: list[str]) -> int:
    """Write the pages, or with `--check` return 1 when one is not current."""
    stale = [name for name, text in pages().items() if not _is_current(FOLDER / name, text)]
    if "--check" not in words:
        for name, text in pages().items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        stale = []
    for name in stale:
        sys.stderr.write(f"docs/reference/{name} is not current. Try: python docs/generate.py\n")
    return 1 if stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
