"""What every test may ask for, and what holds for all of them."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports torch: the tensors of the tests are small, and threads would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"

# A slow machine is no failure. CI draws the same examples every time, so that it never fails by chance.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the project; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real data in ../shared/data")
    return SHARED / "data"


@pytest.fixture
def shared_backbones() -> Path:
    """The folder of pretrained CNN weights beside the project; the test is skipped where it is absent."""
    if not (SHARED / "backbones").is_dir():
        pytest.skip("needs the pretrained weights in ../shared/backbones")
    return SHARED / "backbones"
