"""The supervisor's sample: whether entries stand under the label of the person whom they are about.

- No trie shows that: an operator can list a victim's entry under a label that is nobody's. Whoever knows about whom a
  delivery was, without asking the operator, finds it: the recipient of the delivery.
- The supervisor draws places with randomness of its own, has them opened, asks each recipient for the number of the
  person in the delivery that part D names, and gets y of that number from the label service.
- LIMIT: it is a sample. Of a share p of wrongly listed entries, n draws miss all with probability (1 − p)^n; one
  targeted entry is likely missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.labels import DAY, LabelKey, label_of, label_secret, signed_input
from integrator_audit.completeness.trie import Leaf, index_hash, verify_inclusion
from integrator_audit.errors import Tampered

Random = Callable[[int], int]
"""n -> a number from 0 to n - 1, each as likely: for instance `secrets.randbelow`."""


def draw(leaf: EpochLeaf, count: int, random: Random) -> list[tuple[int, int]]:
    """Draw at most `count` different places (shard, index) of a day, ascending."""
    drawn: set[int] = set()
    while len(drawn) < min(count, leaf.covered):
        drawn.add(random(leaf.covered))
    places: list[tuple[int, int]] = []
    for at in sorted(drawn):
        before = 0
        for item in leaf.shards:
            if at < before + item.count:
                places.append((item.shard, item.start + at - before))
                break
            before += item.count
    return places


def check_attribution(  # noqa: PLR0913  what the supervisor gets from four sides
    place: tuple[int, int],
    leaf: EpochLeaf,
    *,
    number: str,
    key: LabelKey,
    y: bytes,
    listed: tuple[bytes, Sequence[tuple[int, int]]],
    siblings: Sequence[bytes],
) -> None:
    """Check that a listed entry stands under the label of the person with this canonical number "scheme:value".

    `y` is of the label service, `listed` the salt and list of that label on that day, `siblings` its proof. `key` has
    passed `check_certificate`. Raises `Tampered`: `label-key-other`, `label-signature`, `trie-proof…`, and
    `attribution-other`: the entry is not in the list of its person.
    """
    if key.fingerprint != leaf.label_key:
        raise Tampered("label-key-other", f"the label key is not the one of day {leaf.epoch}")
    key.check_signature(y, signed_input(leaf.period, number))
    label = label_of(label_secret(y), DAY, leaf.epoch)
    verify_inclusion(Leaf(label, index_hash(*listed)), siblings, root=leaf.persons_root)
    if place not in [tuple(item) for item in listed[1]]:
        message = f"entry {place[1]} of shard {place[0]} on day {leaf.epoch} is not listed under the person it is about"
        raise Tampered("attribution-other", message)
