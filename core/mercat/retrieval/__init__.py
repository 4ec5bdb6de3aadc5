"""Retrieval: a question in, ranked rows of the store out."""

from mercat.retrieval.base import Progress, Refreshed, Retriever

__all__ = ["Progress", "Refreshed", "Retriever"]
