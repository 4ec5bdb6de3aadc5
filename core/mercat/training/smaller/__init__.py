"""Recipes that make a classifier smaller or faster: a student of it, fewer numbers that are not 0, smaller numbers."""
