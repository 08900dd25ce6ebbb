"""Who of several replicas does what; pure, so that all of them come to the same without asking each other."""

from __future__ import annotations

from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def dealt(
    things: Collection[str], replicas: Sequence[str], held: Mapping[str, Collection[str]] = MappingProxyType({})
) -> dict[str, str]:
    """Each thing's owner, so that nobody has two more than another.

    Everybody keeps what they hold as far as they have room for it. When a replica is gone only what it had moves, and
    when one comes only what it gets.

    Args:
        things: by name.
        replicas: one at least, in an order that all know.
        held: what each replica holds now; two may hold the same while it moves.
    """
    holding = {replica: set(things) & set(held.get(replica, ())) for replica in replicas}
    each, over = divmod(len(things), len(replicas))
    # Where it does not come out even, those have one more who hold one more.
    first = sorted(replicas, key=lambda replica: len(holding[replica]) <= each)
    room = {replica: each + (rank < over) for rank, replica in enumerate(first)}
    holders = {thing: [replica for replica in replicas if thing in holding[replica]] for thing in sorted(things)}
    owners: dict[str, str] = {}

    def give(thing: str, to: str) -> None:
        owners[thing] = to
        room[to] -= 1

    for replica in replicas:
        alone = [thing for thing in holding[replica] if len(holders[thing]) == 1]
        for thing in sorted(alone, key=lambda thing: _drawn(thing, replica), reverse=True)[: room[replica]]:
            give(thing, replica)
    # What two hold moves: it is not to move back.
    for candidates in (holders, {thing: [*replicas] for thing in holders}):
        for thing, able in candidates.items():
            with_room = [replica for replica in able if room[replica]]
            if thing not in owners and with_room:
                # By rendezvous hashing: everybody draws a number for it, and the highest has it.
                give(thing, max(with_room, key=lambda replica: (_drawn(thing, replica), replica)))
    return owners


def _drawn(thing: str, replica: str) -> bytes:
    return blake2b(f"{replica}\0{thing}".encode(), digest_size=8).digest()
