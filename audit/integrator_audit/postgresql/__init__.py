"""The store beyond one machine."""
