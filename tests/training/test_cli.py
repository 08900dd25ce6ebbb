from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def training(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_bad_input_is_one_sentence_and_a_non_zero_status(tmp_path: Path) -> None:
    ended = training("run", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))

    assert ended.returncode == 1
    assert ended.stderr == f"There is no data set in {tmp_path / 'nowhere'}: the folder does not exist.\n"
    assert not (tmp_path / "out").exists()


def test_help_lists_the_verbs_without_waiting_for_tensorflow() -> None:
    ended = training("--help")

    assert ended.returncode == 0
    for verb in ("run", "protocols", "evaluate", "embed", "publish", "check", "import", "export"):
        assert verb in ended.stdout
