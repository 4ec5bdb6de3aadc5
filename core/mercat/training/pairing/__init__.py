"""Recipes that learn how two texts belong together."""
