"""Long tests are skipped in plain sight: whoever runs the suite reads what to type for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ran(*options: str) -> str:
    words = [sys.executable, "-m", "pytest", "-q", "-k", "models", "tests/e2e/test_spine.py", *options]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout


def test_a_plain_run_skips_long_tests_and_says_what_to_type() -> None:
    said = ran()
    assert "test_spine.py: long: pytest -m slow runs it" in said
    assert "passed" not in said


def test_asked_for_they_are_not_skipped() -> None:
    said = ran("-m", "slow", "--setup-plan")  # which tests and fixtures would run, without running them
    assert "SETUP" in said
    assert "long: pytest -m slow" not in said
