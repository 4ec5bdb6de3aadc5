"""Recipes that make an encoder."""
