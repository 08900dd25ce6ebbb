"""Long tests: they fetch and install all that the bot stands on. `make test-package` runs them."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("GAMESPOTTER_TEST_PACKAGE") == "1" else ["test_*.py"]
