"""The signature is the schema: check a section's keys and values against the factory that they are for."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from mercat.config import Section, resolve_secret
from mercat.errors import ConfigError, DataError, UnknownKey
from mercat.registry import Registry

Build = Callable[[str, str], Any]
"""(kind, section name) -> part"""


def bind(
    factory: Callable[..., Any],
    section: Section,
    *,
    registry: Registry,
    build: Build,
    given: Mapping[Any, Any],
    folder: Path | None = None,
) -> Any:
    """Call `factory` with the section's parameters.

    A parameter whose annotation is a kind's protocol takes the name of a section of that kind and receives the built
    part. `given` maps a parameter name or an annotation to an object that the workspace hands in. A relative path
    (annotated `Path`) is taken from `folder`, that of the config. Raises UnknownKey and ConfigError with the section's
    path.
    """
    arguments = dict(check(factory, section, registry=registry, given=given))
    hints = hints_of(factory)
    for name, value in arguments.items():
        converted = _convert(value, hints.get(name, Any), f"{section.path} {name}", registry, build)
        arguments[name] = folder / converted if folder and isinstance(converted, Path) else converted
    for name, parameter in _parameters(factory).items():
        if name not in arguments:
            handed = _handed_in(name, hints.get(name), given)
            if handed is not None:
                arguments[name] = handed
            elif parameter.default is inspect.Parameter.empty:
                raise ConfigError(
                    f"{section.path} needs '{name}'",
                    f"It has {sorted(section.parameters) or 'no keys'}",
                    _like(name, hints.get(name), section),
                )
    return factory(**arguments)


def check(
    factory: Callable[..., Any], section: Section, *, registry: Registry, given: Mapping[Any, Any]
) -> Mapping[str, Any]:
    """Return the section's parameters after checking that the factory takes each of them.

    Raises UnknownKey for one that it does not.
    """
    taken = configurable(factory, registry=registry, given=given)
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(factory).parameters.values())
    for key in section.parameters:
        if key not in taken and not open_ended:
            near = difflib.get_close_matches(key, taken, n=1)
            found = f"Did you mean '{near[0]}'? " if near else ""
            raise UnknownKey(
                f"{section.path} has the key '{key}', which '{section.use}' does not take",
                f"{found}It takes: {', '.join(sorted(taken)) or 'nothing'}",
                "mercat config",
            )
    return section.parameters


def configurable(factory: Callable[..., Any], *, registry: Registry, given: Mapping[Any, Any]) -> list[str]:
    """Return the parameters that a section may set.

    Left out are those that the workspace hands in, and those for Python alone: clocks and trackers.
    """
    hints = hints_of(factory)
    names = (name for name in _parameters(factory) if _handed_in(name, hints.get(name), given) is None)
    return [name for name in names if not _for_python(hints.get(name), registry)]


def hints_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a factory's parameters as objects."""
    function: Any = vars(factory).get("__init__", factory.__init__) if isinstance(factory, type) else factory  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return dict(getattr(function, "__annotations__", {}))


def dependencies(factory: Callable[..., Any], section: Section, registry: Registry) -> list[tuple[str, str]]:
    """Return (kind, name) of the sections that this one refers to."""
    hints, found = hints_of(factory), []
    for name, value in section.parameters.items():
        kind, many = _part_kind(hints.get(name), registry)
        if kind:
            found += [(kind, str(item)) for item in (value if many else [value])]
    return found


def request_from(wanted: type[Any], fields: Mapping[str, Any], *, service: str) -> Any:
    """Return a request of the dataclass `wanted` with these fields; times may be texts (ISO 8601 with a time zone).

    Raises UnknownKey for a field it does not have, DataError for a value that does not fit or is lacking.
    """
    known = [field.name for field in dataclasses.fields(wanted)]
    cure = f"mercat ask {service} --field name=value, with {', '.join(known)}"
    for name in fields:
        if name not in known:
            raise UnknownKey(f"Service '{service}' was asked with '{name}'", f"It takes: {', '.join(known)}", cure)
    import pydantic

    try:
        request = pydantic.TypeAdapter(wanted).validate_python(dict(fields))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(step) for step in problem["loc"])
        raise DataError(f"Service '{service}' was asked", f"{where}: {problem['msg']}", cure) from error
    except pydantic.PydanticUserError:  # fields of types that check themselves
        request = wanted(**fields)
    for name in known:
        value = getattr(request, name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise DataError(
                f"Service '{service}' was asked", f"{name} has no time zone", f"{name}={value.isoformat()}Z"
            )
    return request


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in inspect.signature(factory).parameters.items() if p.kind in named}


def _handed_in(name: str, annotation: Any, given: Mapping[Any, Any]) -> Any:
    if name in given:
        return given[name]
    for candidate in _alternatives(annotation):
        try:
            if candidate in given:
                return given[candidate]
        except TypeError:
            continue
    return None


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [item for item in get_args(annotation) if item is not type(None)]
    return [annotation] if annotation is not None else []


def _part_kind(annotation: Any, registry: Registry) -> tuple[str | None, bool]:
    for candidate in _alternatives(annotation):
        origin = get_origin(candidate) or candidate
        if kind := registry.kind_of(origin):
            return kind, False
        if isinstance(origin, type) and hasattr(origin, "answer_many"):
            return "services", False
        if origin in (list, tuple, Sequence):
            for item in get_args(candidate):
                if kind := registry.kind_of(get_origin(item) or item):
                    return kind, True
    return None, False


def _for_python(annotation: Any, registry: Registry) -> bool:
    """Say whether no value of a configuration can be what is annotated."""
    if _part_kind(annotation, registry)[0]:
        return False
    for candidate in _alternatives(annotation):
        origin = get_origin(candidate) or candidate
        if origin is Callable or getattr(origin, "_is_protocol", False):
            return True
        if origin in (list, tuple, Sequence) and any(_for_python(item, registry) for item in get_args(candidate)):
            return True
    return False


def _convert(value: Any, annotation: Any, where: str, registry: Registry, build: Build) -> Any:
    kind, many = _part_kind(annotation, registry)
    if kind and many:
        return [build(kind, str(name)) for name in value]
    if kind:
        return build(kind, str(value)) if value is not None else None
    return _validate(_resolve(value, where), annotation, where)


def _resolve(value: Any, where: str) -> Any:
    value = resolve_secret(value, where)
    if isinstance(value, dict):
        return {key: _resolve(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, where) for item in value]
    return value


def _validate(value: Any, annotation: Any, where: str) -> Any:
    if annotation in (Any, None, inspect.Parameter.empty) or isinstance(annotation, str):
        return value
    import pydantic

    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
            annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True)
        )
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise ConfigError(f"{where} = {value!r} cannot be used", problem, "mercat config") from error
    except pydantic.PydanticUserError:  # a dataclass config clash: such types check themselves
        return pydantic.TypeAdapter(annotation).validate_python(value)


def _like(name: str, annotation: Any, section: Section) -> str:
    shown = getattr(annotation, "__name__", str(annotation)) if annotation is not None else "a value"
    return f"{name} = … ({shown}) under {section.path}"
