"""Who may be shown which parts of one entry about a person.

    citizen      A and S     D never: positions and digests tell which entries belong to one event or one household
    recipient    A and D     never the salt of S: it would survive erasure at the agency
    supervisor   A, D, S, P  everything
    public       none        no entry at all, only totals: `integrator_audit.public`

- The other parts appear as their salted hashes, which say nothing.
- An opening that shows more than its audience may know is refused as a whole: it should never have been made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from integrator_audit.errors import Invalid, Refused
from integrator_audit.parts import LETTERS

AUDIENCES: Final[Mapping[str, str]] = {"citizen": "AS", "recipient": "AD", "supervisor": "ADSP"}


def opened_letters(opening: Mapping[str, object]) -> str:
    """Return the letters whose parts the opening shows, in the order of the format; nothing is verified."""
    return "".join(letter for letter in LETTERS if opening.get(letter) is not None)


def audience_of(opening: Mapping[str, object]) -> str | None:
    """Return for whom an opening with these parts is, or None when it is for none of the audiences."""
    letters = opened_letters(opening)
    return next((name for name, wanted in AUDIENCES.items() if wanted == letters), None)


def check_audience(opening: Mapping[str, object], audience: str) -> None:
    """Raise `Refused` (`opening-audience`) unless the opening shows exactly what `audience` may know."""
    if audience not in AUDIENCES:
        known = ", ".join(AUDIENCES)
        raise Invalid("audience", f"{audience} is shown no single entry: the audiences of an opening are {known}")
    letters = opened_letters(opening)
    if letters != AUDIENCES[audience]:
        shown, may = (", ".join(item) or "nothing" for item in (letters, AUDIENCES[audience]))
        raise Refused("opening-audience", f"the opening shows {shown}; an opening for a {audience} shows {may}")
