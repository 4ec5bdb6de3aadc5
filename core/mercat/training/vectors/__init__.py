"""Recipes that learn several labels, or a number, from the vector of a text: its body frozen or not."""
