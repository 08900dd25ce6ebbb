"""``compose.yaml`` as Docker understands it, as far as it is used here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What a service of compose.yaml is run with."""

    said: Mapping[str, Any]

    @property
    def command(self) -> tuple[str, ...]:
        return tuple(self.said.get("command", ()))

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.said.get("environment", {}))

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(self.said.get("secrets", ()))

    @property
    def stop_grace_s(self) -> float:
        period = str(self.said["stop_grace_period"])
        assert period.endswith("s")
        return float(period.removesuffix("s"))

    @property
    def volumes(self) -> dict[str, str]:
        """Where what is mounted, without whether it is read-only."""
        return {parts[1]: parts[0] for volume in self.said.get("volumes", ()) for parts in [volume.split(":")]}

    def needs(self) -> dict[str, str]:
        """What must have happened to which other service before."""
        return {name: how["condition"] for name, how in self.said.get("depends_on", {}).items()}


def read_services() -> dict[str, Service]:
    """All of them, with what they take over from each other put in."""
    return {name: Service(said=said) for name, said in read_compose()["services"].items()}


def read_compose() -> dict[str, Any]:
    """The whole file."""
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found
