"""How much the server takes: sizes, rates, batches. Read from `[mercat.serve]`; every key has a default."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pydantic

from mercat.errors import ConfigError, UnknownKey


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of the server. Rates count per minute, in a sliding window.

    More than one of `replicas` run as processes under Ray Serve; each counts its rates for itself.
    """

    max_body_bytes: int = 1_000_000
    max_text: int = 8000
    asks_per_minute: int = 600
    public_per_minute: int = 300
    address_per_minute: int = 3000
    sign_ins_per_account: int = 10
    sign_ins_per_address: int = 30
    max_batch: int = 64
    max_wait_ms: float = 4.0
    max_queue: int = 256
    answer_timeout_s: float = 60.0
    session_hours: float = 12.0
    visitor_hours: float = 24.0
    frame_origins: tuple[str, ...] = ()
    replicas: int = 1

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings of a `[mercat.serve]` table. Raises UnknownKey and ConfigError."""
        known = [item.name for item in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise UnknownKey(
                    f"[mercat.serve] has the key '{key}'", f"It takes: {', '.join(known)}", "mercat config"
                )
        try:
            settings: Settings = pydantic.TypeAdapter(cls).validate_python(dict(values))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(step) for step in problem["loc"])
            raise ConfigError(f"[mercat.serve] {where} cannot be used", problem["msg"], "mercat config") from error
        settings._check()
        return settings

    def _check(self) -> None:
        for origin in self.frame_origins:
            scheme, _, host = origin.partition("://")
            if scheme not in ("https", "http") or not host or set(host) & set(" ;,'\"/"):
                raise ConfigError(
                    f"[mercat.serve] frame_origins has '{origin}'", "It is not an origin", '"https://shop.example"'
                )
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and value <= 0:
                raise ConfigError(f"[mercat.serve] {item.name} = {value}", "It must be above 0", "mercat config")
