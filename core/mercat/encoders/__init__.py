"""Texts in, unit vectors out: one shared instance per model, each text encoded once."""

from mercat.encoders.base import Encoder, EncoderInfo, Role, Vectors

__all__ = ["Encoder", "EncoderInfo", "Role", "Vectors"]
