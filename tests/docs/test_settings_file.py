"""deploy/cuelens.toml documents every setting at its default, and nothing else."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path

from edge.settings import Settings
from edge.settings_file import load_settings
from edge.sinks.table import settings_types


def test_the_settings_file_is_the_defaults_and_names_every_setting(repository: Path) -> None:
    path = repository / "deploy" / "cuelens.toml"
    assert load_settings(path) == Settings()
    written = tomllib.loads(path.read_text())
    defaults = asdict(Settings()) | {name: asdict(kind()) for name, kind in settings_types().items()}
    assert defaults.pop("own") == {}
    assert written.keys() == defaults.keys()
    for section in (name for name, value in defaults.items() if isinstance(value, dict)):
        assert written[section].keys() == defaults[section].keys()
