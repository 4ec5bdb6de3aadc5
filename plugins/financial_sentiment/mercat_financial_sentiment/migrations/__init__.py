"""The plugin's Alembic branch."""
