"""Search for a recipe's parameters on the validation part: trials chosen by TPE (Bergstra et al. 2011), with optuna.

Every trial is written to a journal when it ends. A search that was killed goes on in the trial it was in.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mercat.artifacts import Artifacts
from mercat.errors import ConfigError, DataError, missing_extra
from mercat.store import Store
from mercat.training.base import LOWER_IS_BETTER, Progress, Recipe
from mercat.training.train import train

Space = Mapping[str, "Range | tuple[Any, ...]"]
DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "linear": {"strength": "0.1..1000:log", "class_weight": "none,balanced"},
    "full": {"learning_rate": "3e-5..5e-4:log", "epochs": "2..5", "label_smoothing": "0,0.1", "layer_decay": "0.8,1.0"},
    "lora": {"learning_rate": "3e-4..3e-3:log", "epochs": "2..6", "rank": "8,16,32"},
}


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both ends are; `log` draws orders of magnitude."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True, slots=True)
class Trial:
    """One training: its parameters and what validation said; `error` where it ended in one."""

    number: int
    parameters: Mapping[str, Any]
    value: float | None
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """All trials in their order, and the best one by `metric` of the validation part."""

    metric: str
    trials: tuple[Trial, ...]
    best: Trial


def parse_space(lines: Mapping[str, str]) -> dict[str, Range | tuple[Any, ...]]:
    """Read "1e-5..1e-3:log" as a range and "0,0.1" or "none,balanced" as choices; "none" is no value.

    Raises ConfigError for a text that is neither.
    """
    return {name: _range(name, text) if ".." in text else _choices(name, text) for name, text in lines.items()}


def search(
    build: Callable[[Mapping[str, Any]], Recipe],
    space: Space,
    *,
    name: str,
    store: Store,
    folder: Path,
    trials: int,
    metric: str = "accuracy",
    seed: int = 0,
    about: Any = None,
    progress: Progress,
) -> Search:
    """Train `trials` times with parameters from `space`; return them all. The test part is never scored.

    `build` makes the recipe of some parameters, `about` is what else shapes a trial: the routine, its other parameters,
    the encoder. The journal lies in `folder`: the same call goes on from it, and trials of other spaces, seeds, rows or
    `about` do not count. A trial that the parameters or the rows fail is told and has no value. Raises ConfigError for
    an empty space, or when no trial has the metric; what would fail every trial ends the search.
    """
    if not space or trials < 1:
        raise ConfigError(
            f"A search of {trials} trials over {len(space)} parameters", "Both are at least 1", "--trials 20"
        )
    folder.mkdir(parents=True, exist_ok=True)
    rows = _state_of(store, build(next_parameters(space, [], metric=metric, seed=seed)).collection)
    key = _digest([{each: repr(values) for each, values in space.items()}, metric, seed, rows, repr(about)])
    journal = folder / f"trials-{key}.jsonl"
    done = _read(journal)
    while len(done) < trials:
        progress("trials", len(done), trials)
        asked = next_parameters(space, done, metric=metric, seed=seed)
        own = folder / f"trial-{_digest([key, asked])}"
        done.append(_trial(build, asked, name, store, own, metric, seed, progress, len(done)))
        _append(journal, done[-1])
        shutil.rmtree(own, ignore_errors=True)  # not before the journal has it: a killed trial goes on from here
    progress("trials", trials, trials)
    good = [trial for trial in done if trial.value is not None]
    if not good:
        found = done[0].error or "It is not measured"
        raise ConfigError(f"No trial of '{name}' has the metric '{metric}'", found, "--metric accuracy")
    return Search(metric, tuple(done), max(good, key=lambda trial: (_merit(trial, metric), -trial.number)))


def next_parameters(space: Space, done: Sequence[Trial], *, metric: str, seed: int) -> dict[str, Any]:
    """Return what to try after these trials: always the same after the same ones."""
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("A search for parameters", "optuna", "search") from error
    distributions = {name: _distribution(each) for name, each in space.items()}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed + len(done)))
        for trial in done:
            state = optuna.trial.TrialState.COMPLETE if trial.value is not None else optuna.trial.TrialState.FAIL
            value = None if trial.value is None else _merit(trial, metric)
            study.add_trial(
                optuna.trial.create_trial(
                    params=_keys(trial.parameters, space), distributions=distributions, value=value, state=state
                )
            )
        asked = study.ask(distributions).params
    finally:
        optuna.logging.set_verbosity(before)
    return {name: _drawn(space[name], value) for name, value in asked.items()}


def _trial(
    build: Callable[[Mapping[str, Any]], Recipe],
    parameters: Mapping[str, Any],
    name: str,
    store: Store,
    own: Path,
    metric: str,
    seed: int,
    progress: Progress,
    number: int,
) -> Trial:
    """Train once in a folder of the trial's own."""
    try:
        artifact = train(
            build(parameters),
            name=name,
            store=store,
            artifacts=Artifacts(own / "artifacts"),
            scratch_root=own / "scratch",
            recipe_name="trial",
            seed=seed,
            progress=progress,
        )
    except (ConfigError, DataError) as error:
        return Trial(number, dict(parameters), None, 0.0, str(error))
    found = artifact.metrics.get(metric)
    value = None if found is None else float(found["value"])
    lacking = "" if found else f"Measured are {', '.join(sorted(artifact.metrics))}"
    return Trial(number, dict(parameters), value, float(artifact.details["seconds"]), lacking)


def _merit(trial: Trial, metric: str) -> float:
    value = trial.value if trial.value is not None else float("nan")
    return -value if metric in LOWER_IS_BETTER else value


def _distribution(each: Range | tuple[Any, ...]) -> Any:
    """Choices are numbered, because optuna takes only plain values as such."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(each, tuple):
        return CategoricalDistribution(list(range(len(each))))
    if each.whole:
        return IntDistribution(int(each.low), int(each.high), log=each.log)
    return FloatDistribution(each.low, each.high, log=each.log)


def _keys(parameters: Mapping[str, Any], space: Space) -> dict[str, Any]:
    return {
        name: each.index(parameters[name]) if isinstance(each, tuple) else parameters[name]
        for name, each in space.items()
    }


def _drawn(each: Range | tuple[Any, ...], value: Any) -> Any:
    return each[value] if isinstance(each, tuple) else value


def _range(name: str, text: str) -> Range:
    ends, _, scale = text.partition(":")
    low, high = (_value(end) for end in ends.split("..", 1))
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if not numbers or not low < high or scale not in ("", "log") or (scale and low <= 0):
        raise ConfigError(
            f"The space of {name} is '{text}'", "A range is LOW..HIGH, or LOW..HIGH:log", f"{name}=1e-5..1e-3:log"
        )
    return Range(low, high, log=scale == "log")


def _choices(name: str, text: str) -> tuple[Any, ...]:
    found = tuple(_value(each) for each in text.split(","))
    if not text.strip() or len({*map(repr, found)}) < len(found):
        raise ConfigError(f"The space of {name} is '{text}'", "Choices are different values", f"{name}=0,0.1")
    return found


def _value(text: str) -> Any:
    words = text.strip()
    named = {"none": None, "true": True, "false": False}
    if words.lower() in named:
        return named[words.lower()]
    for kind in (int, float):
        try:
            return kind(words)
        except ValueError:
            continue
    return words


def _state_of(store: Store, collection: str) -> list[int]:
    """Return where each kind of row of a collection stands: trials on other rows cannot be compared."""
    return [store.last_sequence(kind, collection) for kind in ("examples", "interactions", "documents")]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _read(journal: Path) -> list[Trial]:
    """Read finished trials; a last line that a kill cut short is taken away."""
    if not journal.is_file():
        return []
    whole = [line for line in journal.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    journal.write_text("".join(whole), encoding="utf-8")
    return [Trial(**json.loads(line)) for line in whole]


def _append(journal: Path, trial: Trial) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(trial)) + "\n")
        file.flush()
        os.fsync(file.fileno())
