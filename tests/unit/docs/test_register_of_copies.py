"""Holds the register of copies and the tests that look for a person together, in both directions."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_test_that_the_register_names_exists_and_each_canary_test_is_named_or_about_proofs() -> None:
    page = (ROOT / "docs" / "register-of-copies.md").read_text("utf-8")
    source = (ROOT / "tests" / "unit" / "audit" / "test_canary.py").read_text("utf-8")
    named = set(re.findall(r"`(test_[a-z_]+)`", page))
    existing = set(re.findall(r"^def (test_[a-z_]+)\(", source, re.MULTILINE))
    about_proofs = {
        "test_all_that_is_about_others_still_holds_after_a_person_was_forgotten",
        "test_a_history_tells_what_was_erased_from_what_was_left_out",
    }
    assert named == existing - about_proofs
