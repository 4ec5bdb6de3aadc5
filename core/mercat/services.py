"""What a service is: the one shape in which every vertical answers, from Python, the command line and HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints, runtime_checkable

from mercat.values import Answer, Objection, Request, TextRequest

__all__ = ["Answer", "HandsOver", "Request", "Service", "TextRequest", "answer_type", "request_type"]

Q = TypeVar("Q", bound=Request, contravariant=True)
A = TypeVar("A", bound=Answer)


class Service(Protocol[Q, A]):
    """Answers requests in batches; one request is a batch of one.

    A service keeps no conversation, alert or experiment in memory: that is rows in the store.
    """

    def answer_many(self, requests: Sequence[Q]) -> list[A]:
        """Return one answer per request, in order."""
        ...

    def answer(self, request: Q) -> A:
        """Answer one request."""
        return self.answer_many([request])[0]


@runtime_checkable
class HandsOver(Protocol):
    """A service that has its own way for an answer that was withheld: it takes back what it wrote and hands over."""

    def hand_over(self, request: Any, answer: Any, objections: Sequence[Objection]) -> Answer:
        """Return what the asker gets instead of the withheld answer."""
        ...


def request_type(service: Any) -> type[Request]:
    """Return the dataclass of requests that a service takes, from the annotation of its `answer_many`."""
    found: type[Request] = _item_type(service, "requests", Request)
    return found


def answer_type(service: Any) -> type[Answer]:
    """Return the dataclass of answers that a service gives, from the annotation of its `answer_many`."""
    found: type[Answer] = _item_type(service, "return", Answer)
    return found


def _item_type(service: Any, name: str, bound: type) -> Any:
    owner: Any = service if isinstance(service, type) else type(service)
    hints = get_type_hints(owner.answer_many)
    annotation = hints.get(name)
    if annotation is None:  # the first parameter may have another name
        annotation = next((hint for key, hint in hints.items() if key != "return"), None)
    for argument in get_args(annotation):
        found = get_origin(argument) or argument
        if isinstance(found, type) and issubclass(found, bound):
            return found
        if isinstance(argument, TypeVar):
            return _bound_argument(owner, argument, bound)
    raise TypeError(
        f"{owner.__qualname__}.answer_many needs annotations: def answer_many(self, requests: Sequence[Q]) -> list[A]"
    )


def _bound_argument(owner: type, variable: TypeVar, bound: type) -> Any:
    for base in getattr(owner, "__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type) and issubclass(argument, bound):
                return argument
    raise TypeError(f"{owner.__qualname__} does not say what {variable} is")
