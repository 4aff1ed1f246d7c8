"""Imports the installer's modules from the one file that it is on a device; install.sh executes this first, alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class Packed:
    """Finds and loads modules by their paths in the checkout; without importlib.abc, which imports half the library."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module among the sources."""
        stem = name.replace(".", "/")
        for file in (f"{stem}/__init__.py", f"{stem}.py"):
            if file in self._sources:
                is_package = file.endswith("/__init__.py")
                return ModuleSpec(name, self, origin=file, is_package=is_package)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system to make a module."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module's source in it."""
        file = (module.__spec__ and module.__spec__.origin) or ""
        exec(compile(self._sources[file], file, "exec", dont_inherit=True), module.__dict__)


def start(sources: dict[str, str]) -> None:
    """Run the installer of these modules, with the command line's words."""
    sys.meta_path.insert(0, Packed(sources))
    from deploy.device.__main__ import main

    sys.exit(main(sys.argv[1:]))
