"""One TOML file to typed settings; a mistake is named with its line and the nearest valid key."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from edge.errors import SettingsInvalid
from edge.files import read_file
from edge.settings import GONE, CueSettings, Settings, check, with_sensitivity, with_settings
from edge.sinks.table import SINKS, settings_type_of, settings_types
from edge.system.encodings import decode_text
from edge.system.messages import Warned, say
from edge.system.secrecy import hide, plain, plain_address

T = TypeVar("T")

LARGEST_FILE = 65_536  # bytes: eight times what deploy/cuelens.toml has, with all its comments
LONGEST_LINE = 1000  # characters: tomllib takes seconds for a key of ten thousand parts
MOST_MISTAKES = 20  # that are named


def load_settings(path: Path) -> Settings:
    """Read the device's TOML file; raises what `read_settings` raises."""
    return read_settings(path, Settings)


def load_settings_safely(path: Path) -> tuple[Settings, list[str]]:
    """Read the device's TOML file with the default in the place of whatever is wrong; returns also what that was.

    Nobody reads the messages of a device that starts by itself: a typing error must not leave its wearer without a cue.
    """
    mistakes: list[str] = []
    try:
        return read_settings(path, Settings, mistakes), mistakes
    except SettingsInvalid as error:
        return Settings(), [str(error)]


def read_settings(path: Path, settings_type: type[T], mistakes: list[str] | None = None) -> T:
    """Read a TOML file into a dataclass whose fields say what is valid, its tables into dataclasses of its own.

    Raises SettingsInvalid with file, line, value seen and valid values. With a list of `mistakes`, what is wrong with a
    single setting is added there instead, and its default taken. A line on standard error names each setting that has
    gone since an earlier version.
    """
    return read_toml(path, mistakes).build(settings_type, mistakes)


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A TOML file as it was read, once; several dataclasses may be built of it."""

    path: Path
    table: dict[str, Any]
    lines: dict[tuple[str, str], int]  # of each section, under (section, ""), and of each key, under (section, key)
    last_line: str  # without what pads it

    def build(self, settings_type: type[T], mistakes: list[str] | None = None) -> T:
        """Return its values in a dataclass; raises SettingsInvalid, or adds to `mistakes`, as read_settings() does."""
        settings: T = _build(settings_type, self.table, self.path, self.lines, "", mistakes)
        if isinstance(settings, Settings):
            hide_secrets(settings)
        return settings


def read_toml(path: Path, mistakes: list[str] | None = None) -> SettingsFile:
    """Read a TOML file; raises SettingsInvalid. With a list of `mistakes`, bytes that are no text are named there."""
    import tomllib

    try:
        text, wrong = decode_text(read_file(path, LARGEST_FILE))
        if wrong and mistakes is None:
            raise SettingsInvalid(f"{path}:{wrong}")
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LONGEST_LINE:
                raise SettingsInvalid(f"{path}:{number}: {len(line)} characters; a line may have {LONGEST_LINE}")
        table = tomllib.loads(text)
    except SettingsInvalid:
        raise
    except OSError as error:
        raise SettingsInvalid(f"{path}: {error.strerror}; give a settings file that can be read") from error
    except RecursionError as error:
        raise SettingsInvalid(f"{path}: brackets in too many brackets; settings are tables of plain values") from error
    except ValueError as error:  # also of an integer with thousands of digits
        raise SettingsInvalid(f"{path}: not TOML: {error}") from error
    if wrong and mistakes is not None:
        mistakes.append(f"{path}:{wrong}")
    return SettingsFile(path, table, _lines(text), text.rstrip().rpartition("\n")[2])


def hide_secrets(settings: Settings) -> None:
    """Have what logs in anywhere printed nowhere, from now on."""
    address = settings.source.partition(":")[2]
    hide(address, plain_address(address))
    for table in settings.own.values():
        for item in fields(table):
            if "login" in item.metadata:
                hide(getattr(table, item.name))


def check_setting(settings_type: type, key: str, value: object, full: str) -> Any:
    """Return `value` as the setting's type; raises SettingsInvalid where key, type or range is wrong.

    `full` is what the user calls the setting: file, line and table before its name, as far as they are known.
    """
    hints = _kinds(settings_type)
    if key not in hints:
        import difflib

        if settings_type is Settings:
            hints |= settings_types()
        near = difflib.get_close_matches(key, hints, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(sorted(hints))}"
        where, _, table = full.removesuffix(key).rpartition(" ")
        raise SettingsInvalid(f"{where} unknown setting {_seen(table + key)}; {hint}".lstrip())
    rule = next(item for item in fields(settings_type) if item.name == key).metadata
    if "secret" in rule and not isinstance(value, list if hints[key] == tuple[str, ...] else hints[key]):
        kind = "a list of strings" if hints[key] == tuple[str, ...] else f"of type {hints[key].__name__}, in quotes"
        raise SettingsInvalid(f"{full} is of type {type(value).__name__}; it must be {kind}")
    converted = _convert(hints[key], value, full)
    complaint = check(settings_type, key, converted)
    if complaint:
        raise SettingsInvalid(f"{full} is {_seen(value)}; {complaint}")
    return converted


def _kinds(settings_type: type) -> dict[str, Any]:
    """Return the type of each setting, but of the sinks' own, which their tables' names lead to."""
    kinds = get_type_hints(settings_type)
    if settings_type is Settings:
        del kinds["own"]
    return kinds


def _build(
    settings_type: type[Any],
    table: dict[str, Any],
    path: Path,
    lines: dict[tuple[str, str], int],
    section: str,
    mistakes: list[str] | None,
) -> Any:
    hints = _kinds(settings_type)
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in table.items():
        of_sink = settings_type is Settings and key in SINKS
        if of_sink and value == {}:
            continue  # a heading alone costs no import of the sink
        line = lines.get((f"{section}.{key}".lstrip("."), ""), lines.get((section, key), 1))
        full = f"{path}:{line}: {section}.{key}".replace(": .", ": ")
        if gone := GONE.get((section, key)):
            say(Warned(f"cuelens: {full} is a setting no more: {gone}; delete the line"))
            continue
        kind = settings_type_of(key) if of_sink else hints.get(key)
        if kind is None and mistakes is not None and len(mistakes) > MOST_MISTAKES:
            continue  # what was meant costs a look at every name there is
        try:
            if isinstance(kind, type) and is_dataclass(kind):
                if not isinstance(value, dict):
                    raise SettingsInvalid(f"{full} is of type {type(value).__name__}; it must be a table: [{key}]")
                built = _build(kind, value, path, lines, f"{section}.{key}".lstrip("."), mistakes)
                if not of_sink:
                    values[key] = built
                elif built != kind():
                    own[key] = built
            else:
                values[key] = check_setting(settings_type, key, value, full)
        except SettingsInvalid as error:
            if mistakes is None:
                raise
            if len(mistakes) <= MOST_MISTAKES:
                more = f"{path}: and more mistakes than these"
                mistakes.append(str(error) if len(mistakes) < MOST_MISTAKES else more)
    if settings_type is CueSettings:
        return with_settings(with_sensitivity(CueSettings(), values.get("sensitivity", "normal")), values)
    return settings_type(**values, own=own) if own else settings_type(**values)


def _convert(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise SettingsInvalid(f"{where} is {_seen(value)}; it must be a number of 300 digits or less") from error
    if kind == tuple[float, ...]:
        items = value if isinstance(value, list) else [value]
        return tuple(_convert(float, item, where) for item in items)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingsInvalid(f"{where} is {_seen(value)}; it must be a list of strings")
    if type(value) is not kind:
        raise SettingsInvalid(f"{where} is {_seen(value)}; it must be of type {kind.__name__}")
    return value


def _seen(value: object) -> str:
    """Return a value in a few words: a file may hold one of any length, depth or alphabet."""
    try:
        text = plain(repr(value))  # before it is cut: the half of an address has its password, and no @
    except (ValueError, RecursionError):  # an integer of thousands of digits, tables in tables
        return f"a large {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each section, under (section, ""), and of each key, under (section, key)."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            section = header[1].strip()
            found.setdefault((section, ""), number)
        elif key := re.match(r"\s*[\"']?([^\"'=.\s]+)[\"']?\s*[=.]", line):
            found.setdefault((section, key[1]), number)
    return found
