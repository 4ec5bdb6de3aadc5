"""To go on learning from rows that came in since, and to keep the new version only where it forgets nothing."""
