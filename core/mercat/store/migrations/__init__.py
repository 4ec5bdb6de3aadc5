"""The core's Alembic branch, "mercat"."""
