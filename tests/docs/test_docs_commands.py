"""Every shell line of the documentation could be typed: its commands, options, extras, targets and files are there."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mercat.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
CORE = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
VENV = re.findall(r"^VENV +\?= (.+)$", MAKEFILE, re.MULTILINE)
PROGRAMS = {"cd": "files of the reader", "cp": "files of the reader", "curl": "run by the session of the quickstart"}
"""What the sessions of the documentation run, or what only a reader has."""


def lines(page: Path) -> list[str]:
    """Return the commands of a page's shell blocks, after `$` or bare."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    for block in re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        found += block.replace("\\\n", " ").splitlines()
    found += [line.strip() for line in re.findall(r"^    ((?:mercat|pip|python|make) .+)$", text, re.MULTILINE)]
    return [line for line in found if line.strip()]


def mentions(page: Path) -> list[str]:
    """Return the commands within the sentences of a page."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`((?:mercat|pip install|make) [^`\n]+)`", prose)


def test_every_shell_line_could_be_typed(page: Path) -> None:
    if page.parent.name == "reference":
        pytest.skip("generated from the command tree itself, and held to it by a test")
    wrong = [f"{line}: {said}" for line in lines(page) if (said := complaint_about(line, page))]
    wrong += [f"{line}: {said}" for line in mentions(page) if (said := complaint_about(line, page, mention=True))]
    assert wrong == []


def complaint_about(line: str, page: Path, *, mention: bool = False) -> str:
    """Return why a line cannot be typed, or "". A mention may be the bare name of a command."""
    program, *rest = shlex.split(line, comments=True)
    if program == "mercat":
        return of_mercat(rest, mention)
    if program == "make":
        return "" if {word for word in rest if "=" not in word} <= TARGETS else f"targets: {sorted(TARGETS)}"
    if program == "pip":
        return of_pip(rest, page)
    if program == ".":
        return "" if rest == [f"{venv}/bin/activate" for venv in VENV] else "not what the Makefile makes"
    if program == "python" and rest[:1] == ["-m"]:
        return of_module(rest[1:], page)
    if program == "python":
        return "" if (ROOT / rest[0]).exists() else "no such file"
    if program == "torchrun":
        return of_torchrun(rest)
    if program == "docker":
        return of_docker(rest)
    return "" if program in PROGRAMS else "a program that this test does not know"


def of_mercat(words: list[str], mention: bool) -> str:
    name, *rest = words
    if name in ("--help", "--version") or (name == "COMMAND" and rest == ["--help"]):
        return ""
    if name not in COMMANDS:
        installed = {point.name for point in entry_points(group="mercat.commands")}
        tutorial = name == "intake"  # the command that the tutorial adds
        return "" if tutorial or name in installed else "no such command"
    return of_command(typer.main.get_command(import_module(f"mercat.cli.{name}").app), name, rest, mention)


def of_torchrun(words: list[str]) -> str:
    """Parse words as torchrun would, and what it starts as `mercat` would."""
    pytest.importorskip("torch", reason="torch is not installed")
    from torch.distributed.run import get_args_parser

    asked = get_args_parser().parse_args(words)
    if not asked.module or asked.training_script != "mercat":
        return "torchrun starts -m mercat"
    return of_mercat(asked.training_script_args, mention=False)


def of_command(command: Any, name: str, words: list[str], mention: bool) -> str:
    """Parse words as the command itself would, without running it and without asking for passwords."""
    inner = getattr(command, "commands", {})
    if mention and not words:
        return ""
    if words and words[0] in inner:
        return of_command(inner[words[0]], words[0], words[1:], mention)
    for parameter in command.params:
        if getattr(parameter, "prompt", None):
            parameter.prompt, parameter.required = None, False
    try:
        with command.make_context(name, list(words)) as context:
            left = [*getattr(context, "_protected_args", ()), *context.args]
    except Exception as error:
        return str(getattr(error, "message", error)) or repr(error)
    return f"no such command: {left[0]}" if inner and left else ""


def of_pip(words: list[str], page: Path) -> str:
    if words[0] != "install":
        return "not pip install"
    made = re.findall(r"mercat new ([a-z-]+)", page.read_text(encoding="utf-8"))
    known = {"torch", "--upgrade", "-e", "-c", *(f"mercat-{name}" for name in made)}
    for word in words[1:]:
        name, _, extras = word.removesuffix("]").partition("[")
        unknown = set(filter(None, extras.split(","))) - set(CORE["optional-dependencies"])
        if unknown:
            return f"no extra {sorted(unknown)}"
        if (
            name != CORE["name"]
            and name not in known
            and not (ROOT / name).exists()
            and not (page.parent / name).exists()
        ):
            return f"nothing here is called {name}"
    return ""


def of_module(words: list[str], page: Path) -> str:
    if words[0] == "pytest":
        return ""
    return "" if list(ROOT.glob(f"{words[0].replace('.', '/')}*")) else f"no module {words[0]}"


def of_docker(words: list[str]) -> str:
    if words[0] == "build":
        return "" if (ROOT / words[words.index("-f") + 1]).is_file() else "no such Dockerfile"
    return "" if words[0] == "run" else "not known"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("mercat serv", "no such command"),
        ("mercat serve --prot 80", "No such option: --prot"),
        ("mercat serve --port many", "valid integer"),
        ("mercat artifacts demote intents", "no such command: demote"),
        ("mercat keys revoke", "Missing"),
        ('pip install "mercat[everything]"', "no extra ['everything']"),
        ("pip install mercat-typo", "nothing here is called mercat-typo"),
        ("make coffee", "targets"),
        (". env/bin/activate", "not what the Makefile makes"),
        ("poetry add mercat", "does not know"),
        ("docker build -f Dockerfile .", "no such Dockerfile"),
    ],
)
def test_a_line_that_cannot_be_typed_is_found(line: str, complaint: str) -> None:
    assert complaint in complaint_about(line, ROOT / "README.md")


def test_the_readme_lists_every_extra() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| extra | brings |")[2].partition("\n\n")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert named == set(CORE["optional-dependencies"])


def test_no_line_is_overlooked() -> None:
    pages = [ROOT / "README.md", ROOT / "docs" / "quickstart.md"]
    found = [line for page in pages for line in [*lines(page), *mentions(page)]]
    assert {"mercat ingest", "make demo", "pip install torch", "mercat artifacts list"} <= {
        line.partition("  ")[0].strip() for line in found
    }
    assert any(line.startswith("curl -s") for line in found)
