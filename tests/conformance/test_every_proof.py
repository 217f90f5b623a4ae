"""Every inclusion and consistency proof up to size 1,100, against a tree that follows RFC 6962 to the letter.

The unit tier tries every size too, with the numbers at which a proof changes its form; this takes a minute.
"""

from __future__ import annotations

from tests.unit.audit.test_merkle import MAX, check_consistency, check_inclusion


def test_every_inclusion_proof_to_size_1100_is_the_naive_one_and_verifies() -> None:
    for size in range(1, MAX + 1):
        check_inclusion(size, range(size))


def test_every_consistency_proof_to_size_1100_verifies() -> None:
    for size in range(MAX + 1):
        check_consistency(size, range(size + 1))
