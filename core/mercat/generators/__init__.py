"""Prompts in, text out: a causal model on this machine, or a server's."""

from mercat.generators.base import Finish, Generated, Generator, GeneratorInfo, Piece, Prompt

__all__ = ["Finish", "Generated", "Generator", "GeneratorInfo", "Piece", "Prompt"]
