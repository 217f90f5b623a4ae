"""Erasure: what is deleted when, and what stays so that all other proofs hold."""
