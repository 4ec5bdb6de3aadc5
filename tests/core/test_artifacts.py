from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mercat.artifacts import Artifacts, load_arrays, save_arrays, unfinished
from mercat.errors import ArtifactError, UnknownName


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


def make(artifacts: Artifacts, number: float = 1.0, *, promote: bool = True) -> str:
    with artifacts.create("intents", kind="classifier", recipe="linear", seed=7, promote=promote) as writer:
        save_arrays(writer.folder / "head.safetensors", {"weights": np.full((2, 3), number, np.float32)})
        writer.metrics["accuracy"] = np.float32(number)
        writer.encoder_fingerprint = "abc"
        writer.note("labels", ("a", "b"))
    assert writer.artifact is not None
    return writer.artifact.version


def test_an_artifact_comes_back_as_it_was(artifacts: Artifacts) -> None:
    assert make(artifacts) == "0001"
    artifact = artifacts.open("intents")
    assert (artifact.kind, artifact.recipe, artifact.seed, artifact.encoder_fingerprint) == (
        "classifier",
        "linear",
        7,
        "abc",
    )
    assert artifact.metrics == {"accuracy": 1.0}
    assert artifact.details == {"labels": ["a", "b"]}
    assert load_arrays(artifact.folder / "head.safetensors")["weights"].shape == (2, 3)


def test_a_withheld_version_is_kept_and_not_current(artifacts: Artifacts) -> None:
    with artifacts.create("intents", kind="classifier", recipe="update") as first:
        first.withheld = "worse"
    assert artifacts.current("intents") == "0001", "services need some version"
    with artifacts.create("intents", kind="classifier", recipe="update") as second:
        second.withheld = "3 points worse on refund"
    assert artifacts.versions("intents") == ["0001", "0002"]
    assert artifacts.current("intents") == "0001"
    assert artifacts.open("intents", "0002").details["withheld"] == "3 points worse on refund"
    artifacts.promote("intents", "0002")
    assert artifacts.rollback("intents") == "0001"


def test_versions_promote_and_rollback(artifacts: Artifacts) -> None:
    make(artifacts, 1.0)
    make(artifacts, 2.0)
    make(artifacts, 3.0, promote=False)
    assert artifacts.versions("intents") == ["0001", "0002", "0003"]
    assert artifacts.current("intents") == "0002"
    artifacts.promote("intents", "0003")
    assert artifacts.rollback("intents") == "0002"
    assert artifacts.rollback("intents") == "0001"
    with pytest.raises(ArtifactError, match="is its only promoted version"):
        artifacts.rollback("intents")
    assert [(row.version, row.current) for row in artifacts.list()] == [
        ("0001", True),
        ("0002", False),
        ("0003", False),
    ]


def test_a_failed_run_leaves_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), artifacts.create("intents", kind="c", recipe="r") as writer:
        (writer.folder / "half").write_text("x")
        raise RuntimeError
    assert list((tmp_path / "intents").iterdir()) == []
    with pytest.raises(UnknownName, match=r"No artifact named 'intents'\. Known: none\. Try: mercat train intents"):
        artifacts.open("intents")


def test_a_changed_or_missing_file_is_refused(artifacts: Artifacts, tmp_path: Path) -> None:
    make(artifacts)
    head = tmp_path / "intents" / "0001" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1] + b"\x01")
    with pytest.raises(
        ArtifactError, match=r"head\.safetensors\. Its contents have changed\. Try: mercat artifacts rollback"
    ):
        artifacts.open("intents")
    head.unlink()
    with pytest.raises(ArtifactError, match="It is missing"):
        artifacts.open("intents")


@pytest.mark.parametrize(
    ("content", "found"),
    [("{", "is damaged"), ("[]", "is damaged"), ('{"schema": 99}', "This mercat reads schema 1")],
)
def test_a_foreign_or_damaged_description_is_refused(
    artifacts: Artifacts, tmp_path: Path, content: str, found: str
) -> None:
    make(artifacts)
    (tmp_path / "intents" / "0001" / "artifact.json").write_text(content)
    with pytest.raises(ArtifactError, match=found):
        artifacts.open("intents")


@pytest.mark.parametrize("content", ["{", '{"schema": 99}', "", None])
def test_an_old_version_that_is_damaged_is_a_row_with_its_cause(
    artifacts: Artifacts, tmp_path: Path, content: str | None
) -> None:
    for number in (1.0, 2.0, 3.0):
        make(artifacts, number)
    artifacts.rollback("intents")
    artifacts.promote("intents", "0003")
    description = tmp_path / "intents" / "0002" / "artifact.json"
    if content is None:
        description.unlink()
    else:
        description.write_text(content)
    rows = {row.version: row for row in artifacts.list()}
    assert [(row.version, row.current, row.recipe) for row in rows.values()] == [
        ("0001", False, "linear"),
        ("0002", False, ""),
        ("0003", True, "linear"),
    ]
    assert rows["0002"].cause
    assert not rows["0001"].cause + rows["0003"].cause
    for refused in (lambda: artifacts.open("intents", "0002"), lambda: artifacts.promote("intents", "0002")):
        with pytest.raises(ArtifactError, match="0002"):
            refused()
    with pytest.raises(ArtifactError, match=r"cannot go back to 0002.*mercat artifacts promote intents VERSION"):
        artifacts.rollback("intents")
    assert artifacts.open("intents").version == "0003", "the current one is served as before"
    assert make(artifacts, 4.0) == "0004"


def test_a_description_cannot_reach_outside(artifacts: Artifacts, tmp_path: Path) -> None:
    make(artifacts)
    path = tmp_path / "intents" / "0001" / "artifact.json"
    meta = json.loads(path.read_text())
    meta["files"]["../../../etc/passwd"] = "0" * 64
    path.write_text(json.dumps(meta))
    with pytest.raises(ArtifactError, match="It lies outside its folder"):
        artifacts.open("intents")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", "x" * 81, ".hidden", "a\\b", "a\0b", "%2e%2e"])
def test_names_cannot_be_paths(artifacts: Artifacts, name: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be the name of an artifact"):
        artifacts.versions(name)


WRITES = """
import sys
from pathlib import Path
import numpy as np
from mercat.artifacts import Artifacts, save_arrays
artifacts = Artifacts(Path(sys.argv[1]))
for number in range(1000):
    with artifacts.create("intents", kind="c", recipe="r") as writer:
        save_arrays(writer.folder / "head.safetensors", {"w": np.full(1000, number, np.float32)})
    print(writer.artifact.version, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_versions(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for kill in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())
            time.sleep(0.004 * kill)
            os.kill(process.pid, signal.SIGKILL)
            acknowledged += process.stdout.read().split()
        artifacts = Artifacts(tmp_path)
        assert artifacts.open("intents").version in artifacts.versions("intents")
        assert artifacts.current("intents") >= acknowledged[-1]
        for version in artifacts.versions("intents"):
            artifacts.open("intents", version)
    assert set(acknowledged) <= set(artifacts.versions("intents"))


STARTS = """
import sys
from pathlib import Path
from mercat.artifacts import Artifacts
with Artifacts(Path(sys.argv[1])).create(sys.argv[2], kind="c", recipe="r") as writer:
    (writer.folder / "half.json").write_text("{}")
    print(writer.folder, flush=True)
    sys.stdin.readline()
"""


def start(root: Path, name: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that is in the middle of an artifact until it gets a line, and return its folder too."""
    command = [sys.executable, "-c", STARTS, str(root), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind there")
def test_what_a_kill_left_is_removed_by_the_next_run_and_nothing_else(artifacts: Artifacts, tmp_path: Path) -> None:
    (killed, left), (other, elsewhere), (alive, writing) = (
        start(tmp_path, name) for name in ("intents", "topics", "intents")
    )
    with killed, other, alive:
        for process in (killed, other):
            process.kill()
            process.wait()
        assert left.exists() and elsewhere.exists() and writing.exists()
        assert make(artifacts) == "0001"
        assert not left.exists()
        assert not elsewhere.exists(), "of another name, which may never be trained again"
        assert (writing / "half.json").exists(), "its process is still writing"
        alive.communicate("go on\n")
        assert alive.returncode == 0
    assert artifacts.versions("intents") == ["0001", "0002"]
    assert (artifacts.open("intents", "0002").folder / "half.json").exists()
    assert not list(tmp_path.glob("*/.new-*"))


def test_runs_at_the_same_time_do_not_take_each_other_for_abandoned(artifacts: Artifacts) -> None:
    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(lambda number: make(artifacts, number, promote=False), range(40)))
    assert sorted(versions) == [f"{number:04d}" for number in range(1, 41)]


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind there")
def test_a_folder_removed_before_it_was_locked_is_made_again(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[Path] = []

    def lock_too_late(handle: int, *, wait: bool) -> bool:
        if wait and not swept:
            swept.extend(tmp_path.glob("*/.new-*"))
            unfinished.remove_abandoned(tmp_path)
        return locked(handle, wait=wait)

    locked = unfinished._lock
    monkeypatch.setattr(unfinished, "_lock", lock_too_late)
    assert make(artifacts) == "0001"
    assert len(swept) == 1
