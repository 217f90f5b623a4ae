"""Cosignatures and witnesses: who else saw this log, and what a policy asks of them."""
