"""The ASGI app of mercat: `create_app` for a server of your own, `run` for the one that comes with it."""

from mercat.serve.app import create_app
from mercat.serve.settings import Settings

__all__ = ["Settings", "create_app"]
