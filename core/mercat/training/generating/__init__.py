"""Recipes that make a generator."""
