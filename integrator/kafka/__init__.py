"""The event log: connections, topics, access and the development broker."""
