"""Indexes: ids and vectors in, the nearest ids out. `open_index` opens one; FAISS loads only when it is chosen."""

from mercat.indexes.auto import open_index
from mercat.indexes.base import Found, Index, IndexFactory, IndexInfo, Vectors
from mercat.indexes.move import Moved, move

__all__ = ["Found", "Index", "IndexFactory", "IndexInfo", "Moved", "Vectors", "move", "open_index"]
