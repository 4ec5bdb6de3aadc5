"""Sources and sinks for mercat. Each module here is a family with an entry point of its own: files, feeds, helpdesk."""
