"""Keeps the lines that native libraries write when they start away from the person at the terminal."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR = 2


@contextlib.contextmanager
def quiet_native_stderr() -> Iterator[None]:
    """Lead the process's standard error to nowhere for a moment.

    For LiteRT and TensorFlow, whose native code writes there without asking Python and has no setting that stops it.
    What another thread writes in that moment is lost, too: keep it short.
    """
    try:
        kept = os.dup(_STDERR)
    except OSError:  # there is no standard error to keep quiet
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
