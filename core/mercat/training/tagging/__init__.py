"""Recipes that learn a tag for each word, such as names of people and places."""
