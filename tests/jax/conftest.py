from __future__ import annotations

from tests.training.conftest import scratch_config, tiny_config, tiny_data

__all__ = ["scratch_config", "tiny_config", "tiny_data"]
