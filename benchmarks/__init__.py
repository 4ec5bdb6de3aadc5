"""Quality and speed of mercat; each result is a JSON file with the hardware and the commit."""
