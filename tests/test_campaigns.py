"""The campaigns find nothing."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [("settings", "20000"), ("files", "20"), ("interruptions", "2"), ("circumstances", ""), ("mutations", "")],
)
def test_a_campaign_finds_nothing(name: str, count: str) -> None:
    """Damaged settings and files, interruptions, unusual circumstances and changed code end in what they should."""
    command = [sys.executable, "-m", f"tests.campaigns.{name}", *count.split()]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
