"""The project's own promises: one version, a light import, a small core, nothing in the tree that should not be."""

import importlib
import pkgutil
import re
import subprocess
import sys
from datetime import date
from importlib.metadata import entry_points, metadata, version
from pathlib import Path

import pytest
import yaml

import lrcn

ROOT = Path(__file__).parents[1]
HEAVY = ("av", "cv2", "huggingface_hub", "matplotlib", "numpy", "PIL", "timm", "torch", "torchvision")
LARGEST = 16 * 2**20  # bytes
LOCKS = {"uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "Pipfile.lock", "pylock.toml", "conda-lock.yml"}

# Written in pieces, or this file would be the first to name one.
HOSTS = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("download", "pytorch", "org"),
    ("npmjs", "org"),
    ("anaconda", "org"),
)
REGISTRY = re.compile("|".join(r"\.".join(parts) for parts in HOSTS), re.IGNORECASE)
HOME = re.compile(r"(?<![\w.:/-])/(?:work|root)/\w")


def project_files() -> list[Path]:
    """The files of the repository: those committed, and those that would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and the repository")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def modules() -> list[str]:
    """Every module of the package that can be imported without running it."""
    found = pkgutil.walk_packages(lrcn.__path__, "lrcn.", onerror=lambda name: None)
    return [module.name for module in found if not module.name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_every_module_can_be_imported(name):
    assert importlib.import_module(name).__doc__, f"{name} does not say what it is for"


def test_every_public_name_is_there():
    missing = [name for name in lrcn.__all__ if not hasattr(lrcn, name)]
    assert not missing
    assert set(lrcn.__all__) <= set(dir(lrcn))


def test_importing_lrcn_loads_nothing_heavy():
    program = f"import sys, lrcn; print(*[name for name in {HEAVY} if name in sys.modules])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\] - (\S+)$", changes, re.MULTILINE)
    assert citation["version"] == lrcn.__version__ == version("lrcn")
    assert headings[0][0] == version("lrcn")
    for _, day in headings:
        assert day == "unreleased" or date.fromisoformat(day)


def test_the_command_and_the_licence_are_declared():
    (command,) = entry_points(group="console_scripts", name="lrcn")
    assert command.value == "lrcn.cli:main"
    assert metadata("lrcn")["License-Expression"] == "Apache-2.0"


def test_no_file_is_too_large():
    large = {str(path.relative_to(ROOT)): path.stat().st_size for path in project_files()}
    assert {name: size for name, size in large.items() if size > LARGEST} == {}


def test_no_lock_file_is_committed():
    assert [path for path in project_files() if path.name in LOCKS] == []


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    found = []
    for path in project_files():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if REGISTRY.search(line) or HOME.search(line) or str(ROOT) in line:
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []
