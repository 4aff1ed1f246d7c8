"""Backends by name: a source or sink is a file and a line in a table, imported only when named."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from edge.errors import CuelensError, RuntimeMissing
from edge.needs import Needs, missing_library
from edge.settings import Settings


def find_backend(option: str, spec: str, table: Mapping[str, str], unknown: type[CuelensError]) -> tuple[Any, str]:
    """Return the class that `NAME[:ARGUMENT]` names in a table of "module:Class", and the argument.

    Raises `unknown` with the nearest valid name or all of them.
    """
    name, _, argument = spec.partition(":")
    if name not in table:
        import difflib

        near = difflib.get_close_matches(name, table, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise unknown(f"{option} {spec!r}: nothing of the name {name!r}; {hint}valid are {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute), argument


def read_needs(backend: Any, argument: str, settings: Settings) -> Needs:
    """Return what a backend states that it needs; nothing where it states nothing."""
    stated: Needs = backend.needs(argument, settings) if hasattr(backend, "needs") else Needs()
    return stated


def require_linux(what: str) -> None:
    """Raise RuntimeMissing on another system than Linux; `what` begins the sentence, as "--source v4l2"."""
    if sys.platform != "linux":
        raise RuntimeMissing(
            f"{what} needs Linux, and this system is {sys.platform}; "
            "what works here: cuelens demo, faces, read, and run --source file:PATH"
        )


def import_for(sink: str, module: str, library: str) -> Any:
    """Import a module of a sink's, which needs a library that not every device has; raises RuntimeMissing without."""
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_library(sink, library) from error
