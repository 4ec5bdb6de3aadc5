"""From the HTML of a feed item to plain text, in linear time whatever the input."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_HIDDEN = ("script", "style", "iframe", "object", "noscript", "template", "svg")
_BREAKS = frozenset(
    re.findall(r"\w+", "p br div li ul ol tr table h1 h2 h3 h4 h5 h6 blockquote pre section article hr")
)
_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]*)")
_TAG_LIKE = re.compile(r"<[a-zA-Z/!?]")
_TRACKING = re.compile(
    r"(utm_\w+|fbclid|gclid|dclid|msclkid|yclid|mc_cid|mc_eid|igshid|ref_src|cmpid|ocid|smid|spm|at_\w+)", re.IGNORECASE
)


def plain_text(markup: str) -> str:
    """Drop tags, comments and what browsers do not show; keep paragraphs as lines."""
    if not _TAG_LIKE.search(markup) and "&" not in markup:
        return _tidy(markup)
    lowered, parts, position = markup.lower(), [], 0
    while (start := markup.find("<", position)) >= 0:
        parts.append(markup[position:start])
        if not _TAG_LIKE.match(markup, start):
            parts.append("<")
            position = start + 1
            continue
        end, gap = _end_of_tag(markup, lowered, start)
        parts.append(gap)
        position = end
    parts.append(markup[position:])
    return _tidy(html.unescape("".join(parts)))


def canonical_link(link: str) -> str:
    """A link without fragment and without the parameters that only track readers."""
    try:
        parts = urlsplit(link.strip())
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https"):
        return ""
    kept = [(name, value) for name, value in parse_qsl(parts.query, True) if not _TRACKING.fullmatch(name)]
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path, urlencode(kept), ""))


def _end_of_tag(markup: str, lowered: str, start: int) -> tuple[int, str]:
    """Where the tag at `start` and what it hides end, and what stands in its place."""
    if markup.startswith("<!--", start):
        end = markup.find("-->", start + 4)
        return (end + 3 if end >= 0 else len(markup)), " "
    end = markup.find(">", start)
    if end < 0:
        return len(markup), ""
    found = _NAME.match(markup, start + 1)
    name = found[1].lower() if found else ""
    if name in _HIDDEN and markup[start + 1] != "/" and markup[end - 1] != "/":
        close = lowered.find(f"</{name}", end)
        close_end = markup.find(">", close) if close >= 0 else -1
        return (close_end + 1 if close_end >= 0 else len(markup)), " "
    return end + 1, "\n" if name in _BREAKS else ""


def _tidy(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.replace("\0", "").splitlines())
    return "\n".join(line for line in lines if line)
