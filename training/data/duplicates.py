"""Pictures that are nearly the same, among many: pairs of perceptual hashes a few bits apart. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Hashes: TypeAlias = npt.NDArray[np.uint64]
"""uint64[n]: perceptual hashes; see :func:`core.frames.perceptual_hash`."""
Pairs: TypeAlias = npt.NDArray[np.int64]
"""int64[m, 2]: places of two hashes, the smaller place first."""

_BITS = 64


def near_pairs(hashes: Hashes, owners: npt.NDArray[np.int64], *, bits: int) -> Pairs:
    """Every pair of hashes of different owners that differ in at most so many bits, each once.

    By pigeonholes: cut into ``bits + 1`` bands, two such hashes are the same in at least one band, so that only
    hashes that share a band are compared.

    Args:
        hashes: of the pictures.
        owners: of each; pictures of one owner are not compared.
        bits: of 64.
    """
    edges = np.linspace(0, _BITS, bits + 2).astype(int)
    bands = [np.uint64(((1 << (end - start)) - 1) << start) for start, end in pairwise(edges.tolist())]
    found = [_pairs_of_band(hashes, owners, bands=bands, band=band, bits=bits) for band in range(len(bands))]
    return np.concatenate(found)


def _pairs_of_band(
    hashes: Hashes, owners: npt.NDArray[np.int64], *, bands: list[np.uint64], band: int, bits: int
) -> Pairs:
    keys = hashes & bands[band]
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    # For each place in the order, where its run of equal keys ends.
    ends = np.searchsorted(sorted_keys, sorted_keys, side="right")
    places = np.arange(len(order))
    found = [np.zeros((0, 2), dtype=np.int64)]
    offset = 1
    places = places[places + offset < ends]
    while places.size:
        first, second = order[places], order[places + offset]
        apart = hashes[first] ^ hashes[second]
        near = (np.bitwise_count(apart) <= bits) & (owners[first] != owners[second])
        for earlier in bands[:band]:
            near &= (apart & earlier) != 0  # else it was found there
        pairs = np.stack([first[near], second[near]], axis=1)
        found.append(np.sort(pairs, axis=1))
        offset += 1
        places = places[places + offset < ends[places]]
    return np.concatenate(found)
