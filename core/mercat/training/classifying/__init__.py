"""Recipes that make a classifier of single texts: the whole encoder learns, a part of it, or nothing but a head."""
