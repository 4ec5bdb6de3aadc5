"""The fenced blocks of the documentation, so that tests can run them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what its first line says, its lines."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "core" / "README.md", ROOT / "connectors" / "README.md"]
    found += sorted((ROOT / "plugins").glob("*/README.md")) + sorted((ROOT / "docs").rglob("*.md"))
    return found + sorted((ROOT / "examples").glob("*/README.md"))


def blocks(*infos: str) -> list[Block]:
    found = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            found.append(Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2]))
    return [block for block in found if block.info in infos]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "block" in metafunc.fixturenames:
        infos = metafunc.function.infos
        metafunc.parametrize("block", blocks(*infos), ids=str)
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
