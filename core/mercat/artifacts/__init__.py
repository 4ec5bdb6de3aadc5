"""What training leaves behind: versioned folders of plain files, checked before they are read. No pickle.

artifacts/intents/0001/artifact.json      what it is, made from what, with a sha256 of every other file
                      /head.safetensors …
                 /current                 the version that services use, one line of text
                 /history                 the versions that were current before, oldest first
                 /.new-…                  an artifact in the making
"""

from mercat.artifacts.artifacts import Artifacts
from mercat.artifacts.base import Artifact, ArtifactRow, ArtifactWriter
from mercat.artifacts.files import load_arrays, save_arrays

__all__ = ["Artifact", "ArtifactRow", "ArtifactWriter", "Artifacts", "load_arrays", "save_arrays"]
