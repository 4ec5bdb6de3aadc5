"""How much each of several rankings counts, learned from questions with the rows that answer them."""
