"""`mercat`: the table of commands. A command's module is imported only when it is called.

Exit codes: 0 done, 1 something the user can mend (one line, no traceback), 2 usage.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from mercat.errors import MercatError, PluginError

COMMANDS = {
    "init": "Make a configuration, a workspace and the first key",
    "demo": "Run the main job of all three verticals on sample data",
    "plugins": "List installed plugins, and why one is off",
    "doctor": "Find what is or will be in the way, and its cure",
    "config": "Show every setting and where it came from",
    "models": "Show encoders and what they run on, or export one",
    "ingest": "Take in rows from sources, once or as a service",
    "index": "Build, inspect or move the search indexes",
    "train": "Run fine-tune recipes and keep the artifacts",
    "update": "Let an artifact learn what came in since it was made",
    "evaluate": "Score an artifact on rows that training never saw",
    "audit": "Report calibration, fairness, robustness and doubtful labels",
    "drift": "Report whether what comes in is what an artifact learned from",
    "artifacts": "List, promote or roll back what training made",
    "ask": "Ask a service from the command line",
    "serve": "Serve the HTTP interface and the pages",
    "keys": "Make, list and revoke API keys and page accounts",
    "db": "Upgrade the store, or drop a plugin's tables",
    "erase": "Remove everything about one person",
    "expire": "Remove what is older than it may be kept",
    "backup": "Copy the workspace while it is being served",
    "restore": "Bring a backup back",
    "new": "Write a new plugin with its tests",
}
GROUPS = {
    "Start": ("init", "demo", "new"),
    "Look": ("plugins", "doctor", "config", "models"),
    "Learn": ("ingest", "index", "train", "update", "evaluate", "audit", "drift", "artifacts"),
    "Answer": ("ask", "serve", "keys"),
    "Keep": ("db", "erase", "expire", "backup", "restore"),
}
ABOUT = "Business applications of pretrained language models, from your own data."
PLUGIN_GROUP = "mercat.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the console script exits with what this returns."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(overview())
        return 0
    if name in ("--version", "version"):
        from mercat import __version__

        print(f"mercat {__version__}")
        return 0
    module = _module(name)
    if module is None:
        known = [*COMMANDS, *_plugin_commands()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        print(f"No command '{name}'.{hint} Known: {', '.join(known)}. Try: mercat --help", file=sys.stderr)
        return 2
    return _run(module, name, arguments[1:])


def overview() -> str:
    """Return what `mercat --help` prints."""
    lines = ["Usage: mercat COMMAND [OPTIONS]", "", ABOUT]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:<10} {COMMANDS[name]}" for name in names]
    if plugin_commands := _plugin_commands():
        lines += ["", "From plugins:"]
        lines += [f"  {name:<10} {summary}" for name, (_, summary) in plugin_commands.items()]
    return "\n".join([*lines, "", "mercat COMMAND --help shows the options of one command."])


def _module(name: str) -> str | None:
    if name in COMMANDS:
        return f"mercat.cli.{name}"
    found = _plugin_commands().get(name)
    return found[0] if found else None


def _plugin_commands() -> dict[str, tuple[str, str]]:
    """Return the commands of installed plugins by name: (module, summary of the distribution)."""
    rows = {}
    for point in entry_points(group=PLUGIN_GROUP):
        if point.name not in COMMANDS:
            rows[point.name] = (point.value, point.dist.metadata["Summary"] if point.dist else "")
    return rows


def _run(module: str, name: str, arguments: list[str]) -> int:
    try:
        _app(module, name)(args=arguments, prog_name=f"mercat {name}")
    except MercatError as error:
        print(" ".join(str(error).splitlines()), file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        told = MercatError(f"mercat {name} cannot use {error.filename}", str(error.strerror), "another path")
        print(told, file=sys.stderr)
        return 1
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0


def _app(module: str, name: str) -> Any:
    """Return the Typer application of a command. Raises PluginError for a plugin's that cannot be imported."""
    if name in COMMANDS:
        return import_module(module).app
    from mercat.plugins import repeated, repeated_name

    if points := repeated(PLUGIN_GROUP).get(name):
        raise repeated_name("command", name, points)
    try:
        return import_module(module).app
    except Exception as error:
        dist = next((point.dist for point in entry_points(group=PLUGIN_GROUP) if point.name == name), None)
        cure = f"pip install --upgrade {dist.name if dist else 'its distribution'}"
        raise PluginError(f"The command '{name}' cannot be loaded", " ".join(repr(error).split()), cure) from error


if __name__ == "__main__":
    sys.exit(main())
