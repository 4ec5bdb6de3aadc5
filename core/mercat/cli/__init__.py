"""The command line: `app.py` is a table of names, one module per command."""
