"""Makes deploy/device/stated.py: what the installer, which has no Cuelens yet, knows of sources' and sinks' needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace

from deploy.device.needs import Reach
from edge import sources
from edge.needs import Needs
from edge.settings import Settings
from edge.sinks.table import SINKS, needs_of, settings_type_of

URL = "any://where"  # an argument; edge.sources.file needs the network with one
NOTHING = Reach()
HEAD = '''\
"""What each source and sink may need of the service. Made by deploy/pages.py of their classes: do not edit it."""

from __future__ import annotations

from deploy.device.needs import Reach, Stated

'''


def stated_module() -> str:
    """Return the module's text."""
    defaults = Settings()
    return HEAD + "\n".join(
        [
            "STATED = Stated(",
            f'    source="{defaults.source}",',
            f"    sinks={_tuple(defaults.sinks)},",
            "    of_sources={",
            *_rows(sources.SOURCES, sources.needs_of, lambda _: iter([defaults])),
            "    },",
            "    of_sinks={",
            *_rows(SINKS, needs_of, _choices),
            "    },",
            ")",
            "",
        ]
    )


def _choices(name: str) -> Iterator[Settings]:
    """Yield the defaults, and with each other choice of each of the sink's own settings in turn."""
    yield Settings()
    kind = settings_type_of(name)
    if kind is None:
        return
    own = kind()
    for item in fields(kind):
        given = getattr(own, item.name)
        choices = (True, False) if isinstance(given, bool) else item.metadata.get("choices", ())
        yield from (Settings(own={name: replace(own, **{item.name: each})}) for each in choices if each != given)


def _rows(
    names: Iterable[str], needs_of: Callable[[str, Settings], Needs], choices: Callable[[str], Iterator[Settings]]
) -> Iterator[str]:
    for name in names:
        own, with_url = (
            _sum(needs_of(spec, settings) for settings in choices(name)) for spec in (name, f"{name}:{URL}")
        )
        found = {name: own} | ({f"{name}:URL": with_url} if with_url != own else {})
        yield from (f'        "{key}": {_written(reach)},' for key, reach in found.items() if reach != NOTHING)


def _sum(stated: Iterable[Needs]) -> Reach:
    """Return what is needed under any of some settings: which of them there are, the installer does not read."""
    needed = list(stated)
    found = Reach(
        tuple(dict.fromkeys(group for needs in needed for group in needs.groups)),
        tuple(dict.fromkeys(device for needs in needed for device in needs.devices)),
        any(needs.network for needs in needed),
    )
    return found if found == NOTHING else found._replace(safe_mode=any(needs.safe_mode for needs in needed))


def _written(reach: Reach) -> str:
    given = {name: value for name, value in reach._asdict().items() if value}
    words = (f"{name}={_tuple(value) if isinstance(value, tuple) else value}" for name, value in given.items())
    return f"Reach({', '.join(words)})"


def _tuple(words: Iterable[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return f"({', '.join(quoted)}{',' if len(quoted) == 1 else ''})"
