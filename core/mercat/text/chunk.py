"""Cut a Document into Passages along its structure: headings, paragraphs, sentences, and only then words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mercat.errors import ConfigError
from mercat.text.sentences import Piece, sentences, trimmed
from mercat.values import Document, Passage

_HEADING = re.compile(
    r"^(?:#{1,6}[ \t]+\S.*"  # Markdown
    r"|(?:\d{1,2}\.)+\d{0,2}[ \t]+\S[^.!?。！？\n]{0,78}"  # 1.2 Numbered
    r"|第[一二三四五六七八九十百零\d]+[章节条篇部分][^。！？\n]{0,40}"
    r"|[一二三四五六七八九十]+、[^。！？\n]{1,40}"
    r"|[^\n]{1,80}\n(?:={3,}|-{3,}))[ \t]*$",
    re.M,
)


@dataclass(frozen=True, slots=True)
class _Section:
    heading: str
    start: int
    end: int


def chunk(document: Document, *, size: int = 800, overlap: int = 100) -> list[Passage]:
    """Return passages of at most `size` characters with `document.text[p.start:p.end] == p.text`.

    A passage never reaches over a heading; it ends at a paragraph if that leaves it at least half full, otherwise at a
    sentence; a sentence longer than `size` is cut at white space. The next passage begins again with the whole
    sentences among the last `overlap` characters. Ids are "DOCUMENT#0", "DOCUMENT#1", …; `metadata["heading"]` holds
    the heading above, without its marks. Raises ConfigError unless 0 <= overlap < size.
    """
    if not 0 <= overlap < size:
        raise ConfigError(
            f"Passages of {size} characters cannot overlap by {overlap}",
            "It must be 0 <= overlap < size",
            "overlap = 0",
        )
    passages: list[Passage] = []
    for section in _sections(document.text):
        for piece in _packed(document.text, section, size, overlap):
            passages.append(
                Passage(
                    id=f"{document.id}#{len(passages)}",
                    document_id=document.id,
                    text=piece.text,
                    start=piece.start,
                    end=piece.end,
                    metadata={"heading": section.heading} if section.heading else {},
                )
            )
    return passages


def _sections(text: str) -> Iterator[_Section]:
    """Yield the parts between headings, each with its heading at its head. A heading alone joins what follows it."""
    heading, start, body_from = "", 0, 0
    for match in _HEADING.finditer(text):
        if text[body_from : match.start()].strip():
            yield _Section(heading, start, match.start())
            start = match.start()
        heading, body_from = _plain(match[0]), match.end()
    if text[start:].strip():
        yield _Section(heading, start, len(text))


def _plain(heading: str) -> str:
    return heading.split("\n")[0].strip().lstrip("#").strip()


def _packed(text: str, section: _Section, size: int, overlap: int) -> Iterator[Piece]:
    units = list(_units(text, section, size))
    first = 0
    while first < len(units):
        stop = _stop(text, units, first, size)
        piece = trimmed(text, units[first].start, units[stop - 1].end)
        if piece is not None:
            yield piece
        if stop == len(units):
            return
        first = _back(units, first, stop, size, overlap)


def _units(text: str, section: _Section, size: int) -> Iterator[Piece]:
    """Yield the section's sentences, those longer than `size` in parts."""
    for sentence in sentences(text[section.start : section.end]):
        start, end = section.start + sentence.start, section.start + sentence.end
        while end - start > size:
            cut = text.rfind(" ", start + size // 2, start + size)
            cut = start + size if cut < 0 else cut
            part = trimmed(text, start, cut)
            if part is not None:
                yield part
            start = cut
        last = trimmed(text, start, end)
        if last is not None:
            yield last


def _stop(text: str, units: list[Piece], first: int, size: int) -> int:
    """Return the number of the unit before which the passage that begins with `first` ends."""
    start, stop = units[first].start, first + 1
    while stop < len(units) and units[stop].end - start <= size:
        stop += 1
    if stop == len(units):
        return stop
    for candidate in range(stop, first, -1):  # rather a paragraph's end, unless the passage would be short
        if units[candidate - 1].end - start < size // 2:
            break
        if "\n\n" in text[units[candidate - 1].end : units[candidate].start]:
            return candidate
    return stop


def _back(units: list[Piece], first: int, stop: int, size: int, overlap: int) -> int:
    """Return where the next passage begins: as far back as the overlap allows, yet so that it brings something new."""
    begin = stop
    while begin - 1 > first and units[stop - 1].end - units[begin - 1].start <= overlap:
        begin -= 1
    while begin < stop and units[stop].end - units[begin].start > size:
        begin += 1
    return begin
