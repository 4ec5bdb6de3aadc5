"""Draw the two pictures of docs/architecture.md: `python docs/draw.py`. Readable on light and dark pages."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).with_name("img")
STYLE = """
  .page { fill: #ffffff } text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1d2733 }
  .name { font-size: 14px; font-weight: 600 } .gloss { font-size: 11.5px; fill: #5b6875 }
  .title { font-size: 13px; font-weight: 700; letter-spacing: .08em }
  .band { fill: #f5f7f9 } .chip { fill: #ffffff; stroke: #ccd5dd } .top { fill: #e8f1ff; stroke: #a9c7f0 }
  .place { fill: #fff6e3; stroke: #e6c46f } .write { fill: #e6f6f0; stroke: #86cbb0 }
  .answer { fill: #e8f1ff; stroke: #9dc0ee }
  .wt { fill: #12765a } .at { fill: #1d5fae } .line { fill: none; stroke: #7d8b98; stroke-width: 1.6 }
  .wl { fill: none; stroke: #2c9f7b; stroke-width: 2 } .al { fill: none; stroke: #3f82d4; stroke-width: 2 }
  .reads { fill: none; stroke: #b58a1c; stroke-width: 1.5; stroke-dasharray: 4 4 }
  .wh { fill: #2c9f7b } .ah { fill: #3f82d4 } .rh { fill: #b58a1c } .lh { fill: #7d8b98 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0f141a } text { fill: #e4eaf0 } .gloss { fill: #9aa8b5 } .band { fill: #161d25 }
    .chip { fill: #1d2630; stroke: #3a4754 } .top { fill: #17283f; stroke: #35587f }
    .place { fill: #33290f; stroke: #7d6526 } .write { fill: #10302a; stroke: #2e6f5b }
    .answer { fill: #15263d; stroke: #35587f } .wt { fill: #5fd0a8 } .at { fill: #82b4f0 }
    .line { stroke: #6f7d8a } .lh { fill: #6f7d8a }
  }
"""
ROOMS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("cli", "one module per command"), ("testing", "contracts and doubles")),
    (("serve", "HTTP, sign-in, micro-batches, metrics"),),
    (("jobs", "what one does with a workspace"), ("backups", "copy and bring back")),
    (("workspace", "builds parts once, wires by name"),),
    (("flow", "ingest, tasks, delivery"),),
    (("audit", "calibration, fairness, robustness, explanations"),),
    (("training", "recipes, reports"),),
    (
        ("retrieval", "encoder + index"),
        ("classifiers", "encoder + head"),
        ("predictors", "spans, numbers"),
        ("evaluation", "splits, metrics"),
    ),
    (
        ("encoders", "texts to vectors"),
        ("heads", "vectors to scores"),
        ("generators", "prompts to texts"),
        ("indexes", "nearest vectors"),
    ),
    (
        ("store", "rows, outbox"),
        ("connect", "polite HTTP"),
        ("web", "pages, scopes"),
        ("compute", "devices"),
        ("pretrained", "model folders"),
    ),
    (("text", "language, redaction, sentences, keywords"),),
    (("parts", "names of the core's parts"),),
    (("signatures", "the signature is the schema"),),
    (("config", "mercat.toml"), ("plugins", "find, load, isolate")),
    (("hooks", "four of them"), ("artifacts", "what training made")),
    (("registry", "kinds, parts, names"), ("services", "request to answer")),
    (("values", "plain data"), ("errors", "asked, found, next")),
)
LEFT, WIDTH, HEIGHT, STEP, TOP = 24, 690, 42, 50, 62
"""Bands: x, width, height, distance, first y; pixels."""


def box(x: float, y: float, w: float, h: float, style: str, name: str = "", gloss: str = "") -> str:
    """Return a rounded box with a name and a gloss below it."""
    middle = x + w / 2
    parts = [f'<rect class="{style}" x="{x}" y="{y}" width="{w}" height="{h}" rx="9"/>']
    base = y + h / 2 + (5 if not gloss else -2)
    if name:
        parts.append(f'<text class="name" x="{middle}" y="{base}" text-anchor="middle">{escape(name)}</text>')
    if gloss:
        parts.append(f'<text class="gloss" x="{middle}" y="{base + 16}" text-anchor="middle">{escape(gloss)}</text>')
    return "".join(parts)


def words(x: float, y: float, text: str, style: str = "gloss", anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def arrow(path: str, style: str, head: str) -> str:
    """Return a line with an arrow head at its end; `head` is that of the style."""
    return f'<path class="{style}" d="{path}" marker-end="url(#{head})"/>'


def picture(width: int, height: int, title: str, body: list[str]) -> str:
    """Return the whole SVG."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path class="{name}" d="M0 0L8 4L0 8z"/></marker>'
        for name in ("wh", "ah", "rh", "lh")
    )
    inner = "\n  ".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n  <title>{escape(title)}</title>\n  <style>{STYLE}</style>\n'
        f'  <defs>{heads}</defs>\n  <rect class="page" width="{width}" height="{height}" rx="14"/>\n  {inner}\n</svg>\n'
    )


def rooms() -> str:
    """Draw the rooms as layers, with who else may see how far down."""
    body = [
        words(LEFT, 36, "ROOMS OF THE CORE", "title"),
        words(LEFT + WIDTH, 36, "imports go down only", "gloss", "end"),
    ]
    for number, band in enumerate(ROOMS):
        y = TOP + number * STEP
        body.append(box(LEFT, y, WIDTH, HEIGHT, "band"))
        each = (WIDTH - 8 * (len(band) + 1)) / len(band)
        for place, (name, gloss) in enumerate(band):
            x = LEFT + 8 + place * (each + 8)
            style = "top" if number < 5 else "chip"
            body.append(f'<rect class="{style}" x="{x:.0f}" y="{y + 4}" width="{each:.0f}" height="34" rx="7"/>')
            label = f'<tspan class="name">{name}</tspan><tspan class="gloss" dx="8">{escape(gloss)}</tspan>'
            body.append(f'<text x="{x + each / 2:.0f}" y="{y + 26}" text-anchor="middle">{label}</text>')
    bottom = TOP + len(ROOMS) * STEP - 8
    body += seen(740, TOP + 5 * STEP, bottom, "plugins", ("from audit down;", "what lies above", "is handed in"))
    body += seen(
        862, TOP + 9 * STEP, bottom, "connectors", ("connect, web, text,", "registry, hooks,", "values, errors")
    )
    return picture(1008, bottom + 24, "The rooms of mercat as layers", body)


def seen(x: float, top: float, bottom: float, name: str, lines: tuple[str, ...]) -> list[str]:
    """Draw a bracket: who sees the layers from `top` to `bottom`."""
    body = [f'<path class="line" d="M{x - 10} {top}h8v{bottom - top}h-8"/>', words(x + 8, top + 18, name, "name")]
    return body + [words(x + 8, top + 38 + 16 * number, line) for number, line in enumerate(lines)]


def streets() -> str:
    """Draw the two one-way streets, which meet at the store and at artifacts only."""
    body = [words(40, 36, "WRITE", "title wt"), words(40, 476, "ANSWER", "title at")]
    body += [
        box(40, 56, 112, 56, "write", "source", "file, feed, API"),
        box(192, 56, 124, 56, "write", "transforms", "redact, language"),
        box(388, 56, 150, 56, "write", "tasks", "score, count, detect"),
        box(588, 56, 112, 56, "write", "sink", "helpdesk, alerts"),
        box(40, 196, 660, 74, "place", "store", "rows · cursors · outbox · conversations, alerts, accounts"),
        box(748, 205, 100, 56, "write", "recipe", "fine-tune"),
        box(896, 196, 164, 74, "place", "artifacts", "encoder · head · ranker"),
    ]
    body += [
        arrow("M152 84H188", "wl", "wh"),
        arrow("M254 112V192", "wl", "wh"),
        arrow("M430 196V116", "wl", "wh"),
        arrow("M496 112V192", "wl", "wh"),
        arrow("M644 196V116", "wl", "wh"),
        arrow("M700 233H744", "wl", "wh"),
        arrow("M848 233H892", "wl", "wh"),
        words(264, 160, "rows + cursor"),
        words(422, 160, "changes", anchor="end"),
        words(506, 160, "results + messages"),
        words(654, 160, "outbox"),
        words(724, 190, "examples", anchor="middle"),
    ]
    names = (
        ("request", "CLI, API, page"),
        ("service", "in batches"),
        ("encoder", "once per text"),
        ("heads, index", "scores, hits"),
        ("decide", "policy, ranking"),
        ("review", "plugins may object"),
        ("answer", "or an abstention"),
    )
    for number, (name, gloss) in enumerate(names):
        x = 40 + number * 150.0
        body.append(box(x, 384, 120, 56, "answer", name, gloss))
        if number:
            body.append(arrow(f"M{x - 30} 412H{x - 4}", "al", "ah"))
    body += [
        arrow("M250 270V380", "reads", "rh"),
        words(260, 330, "state"),
        arrow("M526 270V380", "reads", "rh"),
        words(516, 330, "rows, vectors", anchor="end"),
        arrow("M978 270V322H574V380", "reads", "rh"),
        words(968, 316, "weights", anchor="end"),
    ]
    return picture(1100, 500, "Two one-way streets that meet at the store and at artifacts", body)


def main() -> None:
    """Write both pictures."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "rooms.svg").write_text(rooms(), encoding="utf-8")
    (FOLDER / "streets.svg").write_text(streets(), encoding="utf-8")


if __name__ == "__main__":
    main()
