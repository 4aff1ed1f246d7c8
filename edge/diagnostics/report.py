"""`cuelens report`: what helps to find a fault, with nothing in it that shows who or where somebody is.

Facts and numbers are taken by name. Of free text, a word stays only as part of a message of Cuelens' or the system's.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import platform
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from edge.diagnostics.checks.board import system_name
from edge.diagnostics.checks.examine import examine
from edge.diagnostics.checks.machine import UNIT, CheckLine, Machine
from edge.diagnostics.checks.service import read_settings_file
from edge.diagnostics.phrases import kept_words, literals
from edge.diagnostics.status import own_version
from edge.errors import SettingsInvalid, SinkUnknown
from edge.locale import read_locale
from edge.settings import Settings
from edge.sinks.glasses.known import NAME, load_glasses
from edge.sinks.places import STREAMS
from edge.sinks.table import SINKS, needs_of, settings_types
from edge.sources import SOURCES
from edge.system.systemd import STATE_FOLDER

GONE = "…"  # in the place of what is left out
MOST_LINES = 500  # of the journal
MOST_LETTERS = 300  # of a line
TAIL = 1 << 20  # bytes of a log's end
CUE_LINE = re.compile(r"\s*\d+\.\d s ")  # of the terminal sink, a second each: the cue log has them
_PLACE = re.compile(r"://|@|/(?:home|media|mnt|root)/")  # in a URL, a mail address, a path of somebody's
_ADDRESSES = re.compile(
    r"\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5,7}\b"  # MAC
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"  # IPv4
    r"|(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])",  # IPv6
    re.IGNORECASE,
)


class Cleaner:
    """Takes out of text whatever may show who or where somebody is."""

    def __init__(self, personal: Iterable[str]) -> None:
        """`personal` goes also where it is a common word: names of people and machines, settings of one's own."""
        names = sorted({name for name in personal if name}, key=len, reverse=True)
        self._personal = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)") if names else None

    def fact(self, text: str) -> str:
        """Return the name of a thing, as of a board, with GONE in the place of what is known to be personal."""
        text = text[:MOST_LETTERS]
        if self._personal:
            text = self._personal.sub(GONE, text)
        chunks = (GONE if _PLACE.search(chunk) else chunk for chunk in re.split(r"(\s+)", text))
        return _ADDRESSES.sub(GONE, "".join(chunks))

    def text(self, text: str) -> str:
        """Return the text with GONE in the place of every word that may be somebody's."""
        line = self.fact(text)
        kept = set(kept_words(line))
        return re.sub(r"\w+", lambda found: found[0] if found.span() in kept else GONE, line)

    def value(self, value: Any) -> Any:
        """Return a JSON value with all its text clean."""
        if isinstance(value, Mapping):
            return {self._word(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return self._word(value) if isinstance(value, str) else value

    def _word(self, text: str) -> str:
        """Return a status' key or value as it is where our code has it so, else as free text."""
        return text if text in literals() and self.fact(text) == text else self.text(text)


def personal_names(machine: Machine, settings: Settings) -> Iterator[str]:
    """Yield this machine's name, its people's, and what somebody set in words of their own."""
    yield machine.text("/etc/hostname") or ""
    for line in (machine.text("/etc/passwd") or "").splitlines():
        parts = line.split(":")
        if len(parts) >= 6 and parts[2].isdecimal() and int(parts[2]) >= 1000 and parts[0] != "nobody":
            yield from (parts[0], *parts[4].split(","), Path(parts[5]).name)
    for name, value, default in _free_values(settings):
        if value != default:
            own = [value] if isinstance(value, str) else value
            yield from (part.partition(":")[2] for part in own) if name in ("source", "sinks") else own
    for spec in settings.sinks:
        with contextlib.suppress(SinkUnknown):  # the check names it
            if pair := needs_of(spec, settings).pairs:
                yield pair[1]
    with contextlib.suppress(SettingsInvalid):  # of a file that is damaged, which its check says
        yield from (known.name for known in load_glasses(machine.path(f"{STATE_FOLDER}/{NAME}")))


def _free_values(settings: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that hold free text, with their values and defaults."""
    standard = type(settings)()
    for item in fields(settings):
        value, default = getattr(settings, item.name), getattr(standard, item.name)
        if item.name == "own":
            for table in value.values():
                yield from _free_values(table)
        elif is_dataclass(value):
            yield from _free_values(value)
        elif isinstance(value, (str, tuple)) and "choices" not in item.metadata:
            yield item.name, value, default


def clean_settings(settings: Any) -> dict[str, Any]:
    """Return the settings as tables: numbers, choices and defaults as they are, text of one's own as GONE."""
    standard = type(settings)()
    facts: dict[str, Any] = {}
    for item in fields(settings):
        value, default = getattr(settings, item.name), getattr(standard, item.name)
        if item.name == "own":
            facts |= {name: clean_settings(settings.of(kind)) for name, kind in settings_types().items()}
        elif is_dataclass(value):
            facts[item.name] = clean_settings(value)
        elif item.name == "source":
            facts[item.name] = _name_of(value, SOURCES)
        elif item.name == "sinks":
            facts[item.name] = [_name_of(spec, SINKS) for spec in value]
        elif value == default or "choices" in item.metadata or not isinstance(value, (str, tuple)):
            facts[item.name] = value
        else:
            facts[item.name] = GONE
    return facts


def _name_of(spec: str, table: Mapping[str, str]) -> str:
    name, colon, _ = spec.partition(":")
    return f"{name if name in table else GONE}{colon and ':' + GONE}"


def _packages() -> list[str]:
    """Return Cuelens and what its own metadata requires for all sinks; picamera2 is the system's."""
    required: list[str] = []
    with contextlib.suppress(PackageNotFoundError):  # of a checkout that is not installed
        required = requires("cuelens") or []
    return ["cuelens", "picamera2", *dict.fromkeys(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required)]


def versions(machine: Machine, cleaner: Cleaner) -> dict[str, Any]:
    """Return what software and which board this is."""
    packages: dict[str, str] = {}
    for name in _packages():
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cuelens": own_version(),
        "board": cleaner.fact(system_name(machine)),
        "python": platform.python_version(),
        "kernel": cleaner.fact(platform.release()),
        "packages": packages,
    }


def clean_status(status: Mapping[str, Any] | None, cleaner: Cleaner) -> dict[str, Any] | None:
    """Return what the running Cuelens reports, without what its source and sinks are called beyond their kind."""
    if status is None:
        return None
    facts = {key: value for key, value in status.items() if key not in ("source", "sinks", "model", "changes")}
    facts = dict(cleaner.value(facts))
    for key in ("version", "runtime"):  # digits and letters of releases, which are no words
        if isinstance(release := status.get(key), str) and re.fullmatch(r"[\w.+ -]{1,60}", release):
            facts[key] = release
    facts["source"] = _name_of(str(status.get("source")), SOURCES)
    facts["sinks"] = [
        {"name": _name_of(str(name), SINKS), **cleaner.value(sink)} for name, sink in _table(status, "sinks").items()
    ]
    sha256 = str(_table(status, "model").get("sha256"))
    facts["model"] = sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else None
    return facts


def _table(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = status.get(key)
    return found if isinstance(found, Mapping) else {}


def journal(machine: Machine, cleaner: Cleaner) -> Iterator[str]:
    """Yield the unit's lines of this boot, each with the seconds since then; none where it may not be read."""
    words = ("--boot", "--output=json", f"--lines={4 * MOST_LINES}", "--no-pager", "--quiet")
    lines = []
    for entry in (machine.command("journalctl", f"--unit={UNIT}", *words) or "").splitlines():
        try:
            facts = json.loads(entry)
            message, t = str(facts["MESSAGE"]), int(facts["__MONOTONIC_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):
            continue
        if not CUE_LINE.match(message):
            lines.append(f"{t:10.3f} {cleaner.text(message)}")
    yield from lines[-MOST_LINES:]


def cues(machine: Machine, settings: Settings) -> Iterator[str]:
    """Yield when which cue was shown: of the running one, and of each log that the settings name."""
    for change in (machine.status or {}).get("changes", ()):
        if isinstance(change, list) and len(change) == 2 and _is_cue(change[1]) and isinstance(change[0], (int, float)):
            yield f"{change[0]:10.2f} {change[1]}"
    for spec in settings.sinks:
        with contextlib.suppress(SinkUnknown):  # the check names it
            file = needs_of(spec, settings).file
            if file and file not in STREAMS:
                yield from _logged(machine.path(file))


def _logged(path: Path) -> Iterator[str]:
    """Yield the changes at the end of a file, where its lines are those of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, io.SEEK_END) - TAIL))
            lines = file.read(TAIL).splitlines()
    except OSError:
        return
    before = None
    for line in lines:
        try:
            record = json.loads(line)
            shown, t = record["expression"] or record["state"], float(record["t"])
        except (ValueError, KeyError, TypeError, RecursionError):  # of another sink's file
            continue
        if shown != before and _is_cue(shown):
            before = shown
            yield f"{t:10.2f} {shown}"


def _is_cue(shown: object) -> bool:
    return shown == "face" or (isinstance(shown, str) and shown in read_locale("en").words)


def _check_name(name: str) -> str:
    """Return a check's name; a sink's is of the settings, and may be anything."""
    kind, _, sink = name.partition(" ")
    return f"{kind} {GONE}" if kind == "sink" and sink not in SINKS else name


def make_report(machine: Machine, config: Path | None, say: Callable[[CheckLine], None]) -> bytes:
    """Return the report as a .tar.gz; the same findings give the same bytes. `say` hears each check as it is done."""
    settings, _ = read_settings_file(machine, config)
    cleaner = Cleaner(personal_names(machine, settings))
    lines = []
    for line in examine(machine, config):
        say(line)
        lines.append(cleaner.value(asdict(line)) | {"name": _check_name(line.name)})
    tables = {
        "checks.json": lines,
        "settings.json": clean_settings(settings),
        "status.json": clean_status(machine.status, cleaner),
        "versions.json": versions(machine, cleaner),
    }
    files = {name: json.dumps(table, indent=1, ensure_ascii=False) for name, table in tables.items()}
    files["cues.txt"] = "\n".join(cues(machine, settings))
    files["journal.txt"] = "\n".join(journal(machine, cleaner))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            content = f"{files[name]}\n".encode()
            member = tarfile.TarInfo(f"cuelens-report/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)
