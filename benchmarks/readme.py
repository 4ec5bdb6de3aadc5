"""Fill the figures of README and docs/figures.md from benchmarks/results: `python -m benchmarks.readme`.

A results file has the shape that `python -m benchmarks NAME --json FILE` writes. The page has all of them, the README
those of `HEADLINES`. Nothing is rounded up and nothing left out: a figure that is worse than a peer's stands beside it
all the same. `--check` only compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, README, PAGE = ROOT / "benchmarks" / "results", ROOT / "README.md", ROOT / "docs" / "figures.md"
HEADLINES = {
    "encode": ("short.ratio_to_sentence_transformers", "long.ratio_to_sentence_transformers", "mean_cosine"),
    "filtered": ("min_recall10", "share10.p50_ratio_to_exact", "p99_ratio_to_exact"),
    "hybrid": ("scifact.ndcg10", "cmrc2018.ndcg10_minus_bm25", "stackfaq.ndcg10_minus_best_leg"),
    "index": ("batch100.overhead_ratio", "single.overhead_ratio", "time_ratio_at_recall097", "million.memory_mb"),
    "index-crash": ("kills", "corrupt_or_lost"),
    "intents": (
        "banking77.full.accuracy",
        "banking77.shot5.accuracy",
        "banking77.shot10.accuracy",
        "clinc150.full.accuracy",
        "clinc150.full.oos_auroc",
        "hwu64.full.accuracy",
    ),
    "ner": ("conll2003.entity_f1", "conll2003.token_micro_f1"),
    "recipes": ("lora.accuracy_minus_full", "lora.trainable_share"),
    "search-while-writing": ("p99_ratio_to_idle",),
    "sentiment": ("phrasebank50.accuracy", "sst2.accuracy", "finfe.clean.accuracy_minus_tfidf"),
    "share": ("three_verticals.ratio_to_one",),
    "startup": ("help.cpu_ratio_to_typer", "healthz.cpu_s"),
}
"""What of a benchmark stands in the README: what its users would ask for first."""
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
NONE = "No figures have been recorded for this version yet. `python -m benchmarks --list` names what can be measured."


def figures(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the block between the marks: a table per benchmark with where it ran, or a sentence when there is none."""
    return "\n\n".join("\n".join(_table(result)) for result in results) if results else NONE


def headlines(results: Sequence[Mapping[str, Any]]) -> str:
    """Return one table of the figures that stand in the README, peers in the last column."""
    rows = [
        _row([f"`{result['name']}`", f"`{metric}`", _value(figure), _interval(figure), _count(figure), theirs])
        for result in results
        for metric in HEADLINES.get(result["name"], ())
        if (figure := result["results"].get(metric))
        for theirs in [_peers(result, metric)]
    ]
    columns = ["benchmark", "measured", "mercat", "95 %", "n", "peers"]
    return "\n".join([_row(columns), _row(["---"] * len(columns)), *rows]) if rows else NONE


def filled(readme: str, block: str) -> str:
    """Return the text with the block between its marks. Raises ValueError when the marks are not there once each."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"The page needs {BEGIN} and {END}, once each and in this order")
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.partition(END)[2]}"


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the results in order of name; those of a quick run mean nothing and are refused."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if quick := [str(result["name"]) for result in found if result.get("quick")]:
        raise ValueError(f"Quick runs are no figures: {', '.join(quick)}")
    return found


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    peers: Mapping[str, Mapping[str, Any]] = result.get("peers", {})
    columns = ["measured", "mercat", "95 %", "n", *peers]
    yield from (f"**{result['name']}**", "", _row(columns), _row(["---"] * len(columns)))
    for metric, figure in sorted(result["results"].items()):
        theirs = [_value(peer.get(metric)) for peer in peers.values()]
        yield _row([f"`{metric}`", _value(figure), _interval(figure), _count(figure), *theirs])
    yield from ("", f"<sub>{_where(result)}</sub>")


def _peers(result: Mapping[str, Any], metric: str) -> str:
    peers: Mapping[str, Mapping[str, Any]] = result.get("peers", {})
    return ", ".join(f"{name} {_value(peer[metric])}" for name, peer in peers.items() if metric in peer)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _value(figure: Mapping[str, Any] | None) -> str:
    return "" if figure is None else f"{figure['value']:.4g}"


def _interval(figure: Mapping[str, Any]) -> str:
    return f"{figure['low']:.4g} to {figure['high']:.4g}" if {"low", "high"} <= figure.keys() else ""


def _count(figure: Mapping[str, Any]) -> str:
    seeds = f", {figure['seeds']} seeds" if figure.get("seeds", 1) > 1 else ""
    return f"{figure['n']:,}{seeds}" if "n" in figure else seeds.removeprefix(", ")


def _where(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    if isinstance(machine, Mapping):
        flags = ", ".join(machine.get("flags", ())) or "no special instructions"
        machine = f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores ({flags})"
    return f"{machine}; commit {result['commit']}; {result['seconds']:,.0f} s"


def main(words: Sequence[str]) -> int:
    """Write both pages, or with `--check` return 1 when their figures are not those of the results."""
    results, wrong = read(RESULTS), 0
    for path, block in ((README, headlines(results)), (PAGE, figures(results))):
        old = path.read_text(encoding="utf-8")
        new = filled(old, block)
        if "--check" in words:
            wrong += new != old
        else:
            path.write_text(new, encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
