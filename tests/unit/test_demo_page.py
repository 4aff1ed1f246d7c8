"""`cuelens demo --open` serves the page with the demo's picture and opens it; the plain demo names it."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from edge.commands import demo
from edge.errors import printable
from edge.settings import Settings
from edge.sinks.web import WebSettings


class Page:
    url = "http://127.0.0.1:8317/"


def test_the_page_is_added_on_loopback_alone_and_may_show_the_picture() -> None:
    settings = demo.with_page(Settings(sinks=("terminal",)))
    assert settings.sinks == ("terminal", "web:127.0.0.1:0")
    assert settings.of(WebSettings).picture
    assert not Settings().of(WebSettings).picture


def test_it_opens_with_its_picture_and_says_where_it_is_when_no_browser_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    sinks: list[tuple[str, object]] = [("terminal", object()), ("web", Page())]
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert demo.open_page(sinks) is None  # type: ignore[arg-type]
    assert opened == ["http://127.0.0.1:8317/#picture"]
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    line = printable(demo.open_page(sinks))  # type: ignore[arg-type]
    assert "open http://127.0.0.1:8317/ yourself, and turn on the camera's picture there" in line, (
        "all of it is printed"
    )
    assert "no sink serves a page" in (demo.open_page([]) or "")


@pytest.mark.parametrize("words", [[], ["--open"]])
def test_a_demo_runs_with_the_page_and_without(repository: Path, tmp_path: Path, words: list[str]) -> None:
    if words:
        pytest.importorskip("starlette", reason="starlette is not installed; ./deploy.sh sinks adds it")
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" >{seen}\n')
    browser.chmod(0o755)
    code = "from edge.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--seconds", "1", *words],
        cwd=repository,
        env={**os.environ, "BROWSER": f"{browser} %s"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (demo.HINT in done.stderr) == (not words)
    assert seen.exists() == bool(words)
    if words:
        assert seen.read_text().strip().endswith("/#picture")
