"""What all tests share: where the shared data is, and a skip with its reason where a test's needs are not met."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

REPOSITORY = Path(__file__).resolve().parent.parent
ONCE = REPOSITORY / "tests" / "deploy"  # how it is packed and installed: no package differs there
SHARED = Path(os.environ.get("CUELENS_SHARED", REPOSITORY.parent / "shared" / "data"))

if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # of a script's background, which programs of the tests would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

set_hypothesis_home_dir(REPOSITORY / ".cache" / "hypothesis")
# The same examples on every run and machine; how long one takes is not what these tests are about.
hypothesis.settings.register_profile("cuelens", derandomize=True, deadline=None)
hypothesis.settings.load_profile("cuelens")


@pytest.fixture(autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the pause of whoever runs the tests out of them, and that of one test out of the next."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def missing(marker: str) -> str | None:
    """Say why a test with this marker cannot run here, None where it can."""
    if marker == "shared" and not SHARED.is_dir():
        return f"no shared data: {SHARED} is not a folder; name it in CUELENS_SHARED"
    if marker == "root" and os.geteuid() != 0:
        return f"needs root, this is user {os.geteuid()}"
    if marker == "host":
        absent = [name for name in ("keras", "tensorflow") if find_spec(name) is None]
        if absent:
            return f"{' and '.join(absent)} not installed here; ./deploy.sh test runs this in .venv-host"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ONCE):
            item.add_marker(pytest.mark.once)
        for marker in item.iter_markers():
            if reason := missing(marker.name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data; skips where it is missing."""
    if reason := missing("shared"):
        pytest.skip(reason)
    return SHARED
