"""Recipes: fine-tune routines that turn labelled rows of the store into artifacts with a report."""
