"""Who of several replicas does what; pure, so that all of them come to the same without asking each other."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def hashed(things: Collection[str], replicas: Collection[str]) -> dict[str, str]:
    """Each thing's owner, by rendezvous hashing: everybody draws a number for it, and the highest has it.

    When a replica is gone only what it had moves, and when one comes only what it gets.

    Args:
        things: by name.
        replicas: one at least.
    """
    return {thing: max(replicas, key=lambda replica: (_drawn(thing, replica), replica)) for thing in things}


def dealt(things: Collection[str], replicas: Sequence[str]) -> dict[str, str]:
    """Each thing's owner, by rendezvous hashing with so much room for each that nobody has two more than another.

    For few things, of which chance would give one replica all. A little more moves than must.

    Args:
        things: by name.
        replicas: one at least, in an order that all know: where it does not come out even, the first have one more.
    """
    each, over = divmod(len(things), len(replicas))
    room = {replica: each + (rank < over) for rank, replica in enumerate(replicas)}
    owners = {}
    for thing in sorted(things):
        candidates = [replica for replica in replicas if room[replica]]
        owner = hashed([thing], candidates)[thing]
        room[owner] -= 1
        owners[thing] = owner
    return owners


def _drawn(thing: str, replica: str) -> bytes:
    return blake2b(f"{replica}\0{thing}".encode(), digest_size=8).digest()
