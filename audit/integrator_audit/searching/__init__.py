"""Search, counts and proofs of absence over part A, by blocks that are built off the write path."""
