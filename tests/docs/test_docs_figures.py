"""The figures of the README come from result files, by a script."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULT = {
    "name": "intents",
    "commit": "0123456789ab",
    "machine": {"cpu": "A CPU", "cores": 2, "flags": ["avx2"]},
    "seconds": 812.4,
    "results": {
        "set.full.accuracy": {"value": 0.9412, "low": 0.933, "high": 0.949, "n": 3080, "seeds": 3},
        "set.full.seconds": {"value": 41.5},
    },
    "peers": {"another": {"set.full.accuracy": {"value": 0.95}}},
}


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.readme")


def test_the_readme_holds_what_the_results_say(readme: Any) -> None:
    assert readme.main(["--check"]) == 0, "python -m benchmarks.readme"


def test_a_result_becomes_a_table_with_peers_and_machine(readme: Any) -> None:
    block = readme.figures([RESULT])
    assert "| measured | mercat | 95 % | n | another |" in block
    assert "| `set.full.accuracy` | 0.9412 | 0.933 to 0.949 | 3,080, 3 seeds | 0.95 |" in block
    assert "| `set.full.seconds` | 41.5 |  |  |  |" in block
    assert "A CPU, 2 cores (avx2); commit 0123456789ab; 812 s" in block


def test_the_readme_has_what_its_users_ask_for_first(readme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "HEADLINES", {"intents": ("set.full.accuracy", "set.not.measured")})
    assert readme.headlines([RESULT]).splitlines()[2:] == [
        "| `intents` | `set.full.accuracy` | 0.9412 | 0.933 to 0.949 | 3,080, 3 seeds | another 0.95 |"
    ]
    assert readme.headlines([{**RESULT, "name": "others"}]) == readme.NONE


def test_the_headlines_are_those_of_benchmarks(readme: Any) -> None:
    from benchmarks.frame import benchmark_names

    assert set(readme.HEADLINES) <= set(benchmark_names())
    measured = {result["name"]: result["results"] for result in readme.read(readme.RESULTS)}
    missing = {name: set(readme.HEADLINES.get(name, ())) - set(found) for name, found in measured.items()}
    assert not any(missing.values()), missing


def test_filling_keeps_what_stands_around(readme: Any) -> None:
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter"
    assert readme.filled(text, "new") == f"before\n{readme.BEGIN}\nnew\n{readme.END}\nafter"
    assert readme.filled(readme.filled(text, "new"), "new") == readme.filled(text, "new")
    with pytest.raises(ValueError, match="once each"):
        readme.filled("no marks", "new")


def test_a_quick_run_is_no_figure(readme: Any, tmp_path: Path) -> None:
    (tmp_path / "intents.json").write_text(json.dumps({**RESULT, "quick": True}))
    with pytest.raises(ValueError, match="intents"):
        readme.read(tmp_path)
