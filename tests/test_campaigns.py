"""The campaigns find nothing."""

import subprocess
import sys

import pytest

from tests.campaigns import mutations
from tests.conftest import ROOT


def test_the_code_has_what_a_campaign_changes() -> None:
    """Each text that the campaign of mutations replaces is in its file, so that a renamed one is seen at once."""
    changes = [(file, old) for file, listed in mutations.TRAINING.items() for old, _, _ in listed]
    changes += [(file, old) for file, old, _ in mutations.SCORING]
    assert [change for change in changes if change[1] not in (ROOT / change[0]).read_text()] == []


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
