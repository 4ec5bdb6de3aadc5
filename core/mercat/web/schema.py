"""From dataclasses to pydantic and back: what makes a service's request and answer types an HTTP schema."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic

MAX_TEXT = 8000
MAX_ITEMS = 256
_SEQUENCES = (list, tuple, Sequence, set, frozenset, AbstractSet)


@functools.lru_cache(maxsize=256)
def model_of(kind: type, *, strict: bool, max_text: int = MAX_TEXT) -> type[pydantic.BaseModel]:
    """Return a pydantic model with the fields of a dataclass.

    `strict` is for what comes in: unknown fields are refused, texts are at most `max_text` characters, lists at most
    256 items, times need a time zone. Answers are described without those limits.
    """
    hints = _hints(kind)
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        if item.init:
            fields[item.name] = (_annotation(hints[item.name], strict, max_text), _default(item))
    config = pydantic.ConfigDict(extra="forbid" if strict else "allow", frozen=True)
    model: type[pydantic.BaseModel] = pydantic.create_model(kind.__name__, __config__=config, **fields)
    doc = kind.__doc__ or ""
    model.__doc__ = "" if doc.startswith(f"{kind.__name__}(") else doc.partition("\n\n")[0]
    return model


def to_dataclass(kind: type, model: pydantic.BaseModel) -> Any:
    """Return the dataclass with the values of a model that `model_of(kind)` made."""
    hints = _hints(kind)
    return kind(**{name: _value(hints[name], getattr(model, name)) for name in type(model).model_fields})


def to_json(value: Any) -> Any:
    """Return plain JSON-able data. Numbers that JSON does not have (NaN, infinity) become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if hasattr(value, "tolist"):  # a numpy array or scalar
        return to_json(value.tolist())
    if isinstance(value, Sequence | AbstractSet):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not plain data")


@functools.lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _annotation(hint: Any, strict: bool, max_text: int) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated or origin is Literal:
        return hint
    if hint is str:
        return Annotated[str, pydantic.Field(max_length=max_text)] if strict else str
    if hint is datetime:
        return pydantic.AwareDatetime if strict else datetime
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return model_of(hint, strict=strict, max_text=max_text)
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, [_annotation(item, strict, max_text) for item in inner])
    if origin in _SEQUENCES or hint in _SEQUENCES:
        item = _annotation(inner[0], strict, max_text) if inner else Any
        return _limited(list.__class_getitem__(item), strict)
    if (isinstance(origin, type) and issubclass(origin, Mapping)) or hint in (dict, Mapping):
        value = _annotation(inner[1], strict, max_text) if inner else Any
        return _limited(dict.__class_getitem__((str, value)), strict)
    return hint


def _limited(kind: Any, strict: bool) -> Any:
    return Annotated[kind, pydantic.Field(max_length=MAX_ITEMS)] if strict else kind


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default is not dataclasses.MISSING:
        if isinstance(item.default, Mapping):
            return pydantic.Field(default_factory=dict)
        if isinstance(item.default, tuple):
            return pydantic.Field(default_factory=list)
        return item.default
    if item.default_factory is not dataclasses.MISSING:
        return pydantic.Field(default_factory=item.default_factory)
    return ...


def _value(hint: Any, value: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if value is None:
        return None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return to_dataclass(hint, value)
    if origin in (Union, types.UnionType):
        return _union_value(inner, value)
    if origin is tuple:
        return tuple(_value(inner[0], item) for item in value)
    if origin in (set, frozenset):
        return origin(_value(inner[0], item) for item in value)
    if origin in _SEQUENCES:
        return [_value(inner[0], item) for item in value]
    if isinstance(value, Mapping) and inner:
        return {key: _value(inner[1], item) for key, item in value.items()}
    return value


def _union_value(options: Sequence[Any], value: Any) -> Any:
    if not isinstance(value, pydantic.BaseModel):
        plain = [option for option in options if get_origin(option) in _SEQUENCES] if isinstance(value, list) else []
        return _value(plain[0], value) if plain else value
    for option in options:
        if dataclasses.is_dataclass(option) and type(value).__name__ == getattr(option, "__name__", ""):
            return to_dataclass(typing.cast(type, option), value)
    return value
