"""Ways in which an API says where its next page is. Each function below returns a rule for `Client.pages`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from mercat.connect.response import RequestFailed, Response

Step = tuple[str, Mapping[str, Any] | None]  # address, parameters to add to it
Follow = Callable[[Response, Step], Step | None]

_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s=;,]+\s*=\s*(?:"[^"]*"|[^\s;,"]+))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def by_link_header(*, rel: str = "next") -> Follow:
    """The `Link` header (RFC 8288), as GitHub and Roundup send it."""

    def follow(response: Response, step: Step) -> Step | None:
        for address, parameters in _LINK.findall(response.header("link")):
            found = _REL.search(parameters)
            if found and rel in (found[1] or found[2]).lower().split():
                return urljoin(response.url, address), None
        return None

    return follow


def by_next_url(path: str = "next") -> Follow:
    """An address in the JSON, such as `next` (Django REST framework) or `links.next`."""

    def follow(response: Response, step: Step) -> Step | None:
        address = dig(response.json(), path)
        return (urljoin(response.url, str(address)), None) if address else None

    return follow


def by_cursor(path: str, *, param: str = "cursor") -> Follow:
    """A cursor in the JSON that goes back as a parameter, such as `meta.after_cursor` → `page[after]`."""

    def follow(response: Response, step: Step) -> Step | None:
        cursor = dig(response.json(), path)
        return (step[0], {**(step[1] or {}), param: cursor}) if cursor else None

    return follow


def by_page_number(*, items: str, param: str = "page", first: int = 1) -> Follow:
    """Counted pages; the first page whose list at `items` is empty is the last ("" when the answer is the list)."""

    def follow(response: Response, step: Step) -> Step | None:
        if not dig(response.json(), items):
            return None
        given = step[1] or {}
        return step[0], {**given, param: int(given.get(param, first)) + 1}

    return follow


def dig(value: Any, path: str) -> Any:
    """The value at a dotted path inside JSON; None when it is not there. "" is the whole."""
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def walk(
    get: Callable[..., Response], url: str, *, follow: Follow, params: Mapping[str, Any] | None, max_pages: int
) -> Iterator[Response]:
    """Yield every page. Errors: RequestFailed when pages repeat, change origin or do not end."""
    step: Step | None = (url, params)
    seen: set[str] = set()
    for _ in range(max_pages):
        if step is None:
            return
        if urlsplit(step[0])[:2] != urlsplit(url)[:2]:
            raise _astray(url, "The next page is on another server")
        if repr(step) in seen:
            raise _astray(url, "The pages go round in a circle")
        seen.add(repr(step))
        response = get(step[0], params=step[1])
        yield response
        step = follow(response, step)
    if step is not None:
        raise _astray(url, f"There are more than {max_pages} pages")


def _astray(url: str, found: str) -> RequestFailed:
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return RequestFailed(f"The pages of {shown} were read", found, "check how this API pages")
