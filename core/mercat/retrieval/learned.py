"""Weights of rankings that the recipe `fusion` has learned, as an artifact holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mercat.artifacts import Artifact
from mercat.errors import ArtifactError, FingerprintError

KIND = "fusion"
_FILE = "weights.json"


@dataclass(frozen=True, slots=True)
class Learned:
    """One weight for each ranking; the weights sum to 1. `spaces` names what their scores were made by."""

    weights: tuple[float, ...]
    spaces: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> Learned:
        """Read what `save` wrote."""
        read = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(tuple(read["weights"]), tuple(read["spaces"]))

    @classmethod
    def of(cls, artifact: Artifact, *, spaces: Sequence[str]) -> Learned:
        """Return the weights of an artifact, for rankings whose scores are made by `spaces`.

        Raises ArtifactError for an artifact of another kind, FingerprintError for weights of other scores.
        """
        if artifact.kind != KIND:
            found = f"'{artifact.name}' is of kind '{artifact.kind}', made by '{artifact.recipe}'"
            raise ArtifactError(
                "Weights of a fusion were expected", found, "use = 'fusion' in its section of [recipes]"
            )
        found_here = cls.load(artifact.folder)
        if found_here.spaces != tuple(spaces):
            raise FingerprintError(
                f"The weights of '{artifact.name}' were learned on scores of {', '.join(found_here.spaces)}",
                f"The retriever that names it has scores of {', '.join(spaces)}",
                f"mercat train {artifact.name}",
            )
        return found_here

    def save(self, folder: Path) -> None:
        """Write the weights into an existing folder."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
