"""Encoders that may be sent to another process: there they load their weights again."""

from __future__ import annotations

import threading
from typing import Any, ClassVar


class Portable:
    """Sends an encoder without its lock and without the fields in `_late`, which are None until it is used."""

    portable = True
    _late: ClassVar[tuple[str, ...]] = ("_loaded",)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", *self._late)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), **dict.fromkeys(self._late))
