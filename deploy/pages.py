"""Makes the pages and files that follow from the code: settings, errors, and what sources and sinks need.

`python -m deploy.pages` writes them, `--check` only names those that are not current (exit code 120).
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from deploy import failure
from deploy.stated import stated_module
from edge import errors
from edge.diagnostics.remedies import REMEDIES
from edge.errors import Kind
from edge.settings import Settings, is_for_tuning
from edge.sinks.table import SINKS, needs_of, settings_types
from edge.system.program import USAGE

ROOT = Path(__file__).resolve().parents[1]
BLOCK, BLOCK_END = "<!-- Made by deploy/pages.py of the sinks' classes: do not edit it. -->", "<!-- End of it. -->"
KINDS = {"str": "text", "tuple": "a list of texts", "float": "a number", "int": "a whole number"}

SETTINGS_HEAD = """# Settings

<!-- Made by deploy/pages.py of edge/settings.py and of the sinks' classes: do not edit it. -->

For makers. The settings are one TOML file: `/etc/cuelens/cuelens.toml` on a device ([how to apply a
change](device.md#settings)), or any file with `cuelens run --config FILE`. A setting that the file does not name has
its default. [deploy/cuelens.toml](../deploy/cuelens.toml) is a file with all of them. An error names the line, the
value and what is valid. Those for tuning are folded at the end of each table; nobody needs them to use Cuelens. Times
are seconds on the capture clock, and shares are 0 to 1.
"""
SETTINGS_FILE_HEAD = """\
# Cuelens' settings, each at its default; in the checkout deploy/pages.py makes this file. On the device they are in
# /etc/cuelens/cuelens.toml: change what you need, then sudo /opt/cuelens/current/install.sh apply. Without the file
# there are the defaults, and a mistake is named with its line. Seconds run on the capture clock, shares are 0 to 1.
"""
ERRORS_HEAD = """# Error codes

<!-- Made by deploy/pages.py of edge/errors.py, edge/diagnostics/remedies.py and deploy/failure.py: do not edit it. -->

For makers. Every failure prints one line and ends with the exit code of its kind. The line ends in the identifier of
its cause, in brackets, which scripts may match: `cuelens: ... [camera-missing]`. With `--json` it is `error` in the
object, and the sentence `message`. [When something is wrong](troubleshooting.md) begins with the symptom instead.

## cuelens and the host's programs
"""

# Of deploy.sh itself, without the usage, which edge has too; deploy/failure.py has codes, and the kind of each cause.
DEPLOY_KINDS = {
    "host": ("This computer", "This computer cannot do it: its Python, its system, or a program that is missing."),
    "installation": ("Installation", "An installation failed, here or on the device."),
    "key": ("Release key", "The key that signs releases cannot be used."),
    "download": ("Download", "A package could not be downloaded, or is not the right one."),
    "path": ("Path", "A path cannot be read or written."),
    "checkout": ("Checkout", "The checkout is not whole."),
    "bundle": ("Bundle", "The bundle is damaged, or not signed by a known key."),
    "device": ("Device", "The device does not answer, or cannot take a release."),
    "release": ("Release", "A release does not work on the device."),
    "image": ("Image", "`flash`: the image cannot be used."),
    "card": ("Card", "`flash`: the card cannot be written, or something for it is missing."),
}
DEPLOY_CAUSES: dict[str, tuple[str, str]] = {
    "python-unusable": ("There is no usable Python.", "Install Python 3.11 to 3.14, or name one in `CUELENS_PYTHON`."),
    "machine-unsupported": (
        "The locks have no packages for this machine: 32-bit Arm, musl, Windows, macOS.",
        "Use a 64-bit Debian.",
    ),
    "venv-missing": ("Python has no venv module.", "Run the apt command that the message names."),
    "installation-failed": (
        "An installation failed.",
        "Read what pip printed above the message, which names what to try.",
    ),
    "emulator-missing": ("The tools for an emulated Arm are missing.", "Run the apt command that the message names."),
    "emulator-download-failed": ("A download for the emulated Arm failed.", "Check the network, then start again."),
    "tool-missing": ("A program is missing: ssh-keygen, git.", "Run the apt command that the message names."),
    "key-unusable": (
        "`bundle`: the key cannot be used, or others may read it.",
        "Do what the message says, usually `chmod 600`.",
    ),
    "download-failed": (
        "`bundle`, `training/scenes.sh`: packages could not be downloaded, or arrived damaged.",
        "Do what the message says.",
    ),
    "package-foreign": (
        "`bundle`: a package is not the locks', or does not run on the target.",
        "Start again with an empty cache.",
    ),
    "path-refused": (
        "`bundle`, `release`, `training/scenes.sh`: a path cannot be read or written.",
        "Use another path, or correct its rights.",
    ),
    "space-short": ("`bundle`, `release`: the disk is full.", "Free some space."),
    "checkout-incomplete": ("The checkout is incomplete, or its project cannot be built.", "Take a fresh clone."),
    "link-dead": ("`docs`: a page links to a file that does not exist.", "Correct the link."),
    "bundle-invalid": ("`bundle --verify`: this is not a valid bundle.", "Build or copy it again."),
    "device-silent": ("The device does not answer.", "Try the `ssh` command that the message names."),
    "root-needed": ("The user has no root rights on the device.", "Do what the message says, or push as `root@`."),
    "device-architecture": (
        "The device is neither aarch64 nor x86-64, or the bundle is for the other one.",
        "Use the other bundle.",
    ),
    "device-system": (
        "The system is not Bookworm or Trixie, or the bundle is for the other one.",
        "Use the other bundle.",
    ),
    "device-tools": (
        "The device has another Python, or a tool is missing.",
        "Run the apt command that the message names.",
    ),
    "device-space-short": ("There is no space on the device.", "Remove files there."),
    "device-read-only": (
        "The device's system keeps nothing: read-only, or an overlay.",
        "Turn the overlay off (`raspi-config`).",
    ),
    "bundle-damaged": ("The bundle is damaged or not signed.", "Build or copy it again."),
    "signer-unknown": (
        "The bundle is signed by a key that the device does not know.",
        "Give the key with `push --signers FILE`.",
    ),
    "release-failed": (
        "The release does not work, or there is none to go back to.",
        "Read the reason in the message; the former release runs again.",
    ),
    "image-missing": ("`flash`: the image does not exist or is no image.", "Check the path."),
    "image-damaged": ("`flash`: the image is cut short or damaged.", "Download it again."),
    "image-checksum": (
        "`flash`: there is no checksum, or the image has another one.",
        "Download image and `.sha256` again.",
    ),
    "image-foreign": ("`flash`: the image is not Raspberry Pi OS.", "Use Raspberry Pi OS Lite (64-bit)."),
    "image-unsupported": (
        "`flash`: the image's release is not supported, or lacks what a first start needs.",
        "Use Trixie or Bookworm.",
    ),
    "image-32-bit": ("`flash`: the image is a 32-bit system.", "Use Raspberry Pi OS Lite (64-bit)."),
    "image-unfit": (
        "`flash`: the boot partition has no room, or the image cannot do what an option asks.",
        "See the message.",
    ),
    "disk-refused": ("`flash`: the disk or file must not or cannot be written.", "Check the name with `lsblk`."),
    "card-faulty": ("`flash`: the card returns other data than was written.", "Use another card or reader."),
    "flash-means-missing": ("`flash`: a tool, key or password is missing.", "Do what the message says."),
}
KINDS_OF_FAILURE = {
    Kind.FAULT: ("Fault", "There is a fault in Cuelens itself, or in a driver."),
    Kind.USAGE: ("Usage", "The command line or the settings are wrong."),
    Kind.SOURCE: ("Source", "A film, a picture or a folder cannot be read."),
    Kind.CAMERA: ("Camera", "The camera gives nothing, or its light is not lit."),
    Kind.MODEL: ("Model", "A network's file or contract cannot be used, or the network fails."),
    Kind.CONVERSION: ("Conversion", "A network cannot be converted, or the conversion lost too much."),
    Kind.FIT: ("Fit", "A fit cannot go on."),
    Kind.DATA: ("Data set", "A data set is missing, damaged or too small."),
    Kind.SINK: ("Sink", "An output cannot be written, or broke."),
    Kind.LIBRARY: ("Library", "A library is not installed: the command is left out here."),
    Kind.STUCK: ("Stuck", "Something did not end in time."),
    Kind.CHECK: ("Check", "`cuelens check` found something that must be done."),
    Kind.NOT_RUNNING: ("Not running", "No Cuelens runs here."),
    Kind.BOARD: ("Board", "The board lacks memory or a pin."),
    Kind.BENCHMARK: ("Benchmark", "A measurement failed, costs more than before, or its page is not current."),
}


def make_pages() -> dict[Path, str]:
    """Return the text of each page by its path."""
    docs = ROOT / "docs"
    return {
        docs / "settings.md": settings_page(),
        ROOT / "deploy" / "cuelens.toml": settings_file(),
        ROOT / "deploy" / "device" / "stated.py": stated_module(),
        docs / "errors.md": errors_page(),
        docs / "sinks.md": _with_block(docs / "sinks.md", "\n".join(needs_table())),
        docs / "privacy.md": _with_block(docs / "privacy.md", blind_sinks()),
    }


def _with_block(path: Path, text: str) -> str:
    """Return a page that people write, with the one part of it that is made."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BLOCK)
    _, end, after = rest.partition(BLOCK_END)
    if not end:
        raise ValueError(f"{path}: has no part from {BLOCK!r} to {BLOCK_END!r}; write both where it belongs")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


# sinks

FORMS = re.compile(r"(`\w+[^`]*`(?:, `[^`]+`)*): (.+?)\.?(?:\n\n|$)", re.DOTALL)  # of a sink, and what it is


def needs_table() -> list[str]:
    """Return the table of what each sink is, by its file, and needs at the default settings, as its class states.

    Raises ValueError for a file whose first words are not the sink's forms and what it is.
    """
    lines = ["| sink | what it is | libraries | groups | network | safe mode |", f"|{' --- |' * 6}"]
    for name, place in SINKS.items():
        about = FORMS.match(import_module(place.partition(":")[0]).__doc__ or "")
        if about is None or not about[1].startswith(f"`{name}"):
            raise ValueError(f"the file of the sink {name} does not say what it is; begin it with `{name}`: what it is")
        what = about[2].replace("\n", " ")
        needs = needs_of(name, Settings())
        cells = ", ".join(needs.modules), ", ".join(needs.groups), "yes" if needs.network else ""
        lines.append(f"| {about[1]} | {what} | {' | '.join(cells)} | {'shows it' if needs.safe_mode else ''} |")
    return lines


def blind_sinks() -> str:
    """Return the sentence that names the sinks which state to look into no frame."""
    names = [f"`{name}`" for name in SINKS if not needs_of(name, Settings()).sees_frames]
    about = "Every other sink gets the frame's number and time with the cue, and never looks into the frame"
    return f"{about}: {', '.join(names)}."


# settings


def settings_page() -> str:
    """Return docs/settings.md; raises ValueError for a setting without a sentence."""
    lines = [SETTINGS_HEAD]
    for title, about, items in _tables():
        lines += [f"## {f'[{title}]' if title else 'Top of the file'}", "", *([about, ""] if about else [])]
        plain = [item for item, _ in items if not is_for_tuning(item)]
        tuning = [item for item, _ in items if is_for_tuning(item)]
        sentences = {item.name: sentence for item, sentence in items}
        lines += [*_settings_table(plain, sentences), ""] if plain else []
        if tuning:
            lines += ['<details markdown="1">', "<summary>For tuning</summary>", ""]
            lines += [*_settings_table(tuning, sentences), "", "</details>", ""]
    return "\n".join(lines)


def settings_file() -> str:
    """Return deploy/cuelens.toml; raises ValueError for a setting without a sentence."""
    lines = [SETTINGS_FILE_HEAD]
    for title, about, items in _tables():
        lines += [*_comment(about), f"[{title}]", ""] if title else []
        for item, sentence in items:
            if not is_for_tuning(item):
                valid = f" Valid: {_valid(item)}." if {"range", "choices"} & item.metadata.keys() else ""
                lines += [*_comment(sentence + valid), f"{item.name} = {_toml(_default(item))}", ""]
        if tuning := [item for item, _ in items if is_for_tuning(item)]:
            lines += ["# For tuning; docs/settings.md says what each does:"]
            lines += [*(f"# {item.name} = {_toml(_default(item))}" for item in tuning), ""]
    return "\n".join(lines)


def _tables() -> Iterator[tuple[str, str, list[tuple[Field[Any], str]]]]:
    """Yield each table of the settings: its name, what it is of, and its fields with their sentences."""
    defaults = {item.name: _default(item) for item in fields(Settings)}
    top = [item for item in fields(Settings) if item.name != "own" and not is_dataclass(defaults[item.name])]
    yield "", "", _with_sentences(top, _documented(Settings))
    tables: dict[str, Any] = {name: type(value) for name, value in defaults.items() if is_dataclass(value)}
    for name, kind in (tables | settings_types()).items():
        about = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        yield name, about, _with_sentences(fields(kind), _documented(kind))


def _with_sentences(items: Iterable[Field[Any]], documented: Mapping[str, str]) -> list[tuple[Field[Any], str]]:
    found = []
    for item in items:
        if item.name not in documented:
            raise ValueError(f"the setting {item.name} has no sentence; write one below it, as the others have")
        found.append((item, documented[item.name].replace("\n\n", " ").replace("\n", " ")))
    return found


def _settings_table(items: Iterable[Field[Any]], sentences: Mapping[str, str]) -> list[str]:
    rows = ["| setting | default | valid | meaning |", "| --- | --- | --- | --- |"]
    for item in items:
        meaning = sentences[item.name].replace("|", "\\|")
        rows.append(f"| `{item.name}` | `{_toml(_default(item))}` | {_valid(item)} | {meaning} |")
    return rows


def _comment(text: str) -> list[str]:
    """Return a sentence as lines of comment, links as the pages that they are to."""
    plain = re.sub(r"\[[^]]*\]\(([^)]*)\)", r"docs/\1", text).replace("`", "")
    return [f"# {line}" for line in textwrap.wrap(plain, 110, break_long_words=False, break_on_hyphens=False)]


def _documented(kind: type) -> dict[str, str]:
    """Return the sentences below the fields of a class."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    sentences = {}
    for before, after in zip(node.body, node.body[1:], strict=False):  # type: ignore[attr-defined]
        match before, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                sentences[name] = inspect.cleandoc(text)
    return sentences


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if callable(item.default_factory) else item.default


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return str(value)


def _valid(item: Field[Any]) -> str:
    unit = f" {item.metadata['unit']}" if "unit" in item.metadata else ""
    if choices := item.metadata.get("choices"):
        return ", ".join(f"`{_toml(choice)}`" for choice in choices) + unit
    if limits := item.metadata.get("range"):
        return f"{limits[0]} to {limits[1]}{unit}"
    value = _default(item)
    return "`true` or `false`" if isinstance(value, bool) else KINDS[type(value).__name__]


# exit codes


def errors_page() -> str:
    """Return docs/errors.md."""
    lines = [ERRORS_HEAD, "| code | kind | what failed |", "| --- | --- | --- |"]
    lines += [f'| <a id="{kind}"></a>{kind} | {name} | {what} |' for kind, (name, what) in KINDS_OF_FAILURE.items()]
    causes = [cause for cause in error_kinds() if cause is not errors.CuelensError]
    for kind, (title, _) in KINDS_OF_FAILURE.items():
        lines += ["", f"### {title}: {kind}", "", *HEAD]
        if kind is Kind.FAULT:
            lines.append(_cause_row(errors.CuelensError.identify(), *FAULT))
        if kind is Kind.USAGE:
            lines.append(_cause_row(USAGE, "The command line is wrong.", "`--help` lists what is valid."))
        for cause in causes:
            if cause.exit_code is kind:
                lines.append(_cause_row(cause.identify(), *_cause_and_remedy(cause)))
    return "\n".join([*lines, *_deploy_errors()]) + "\n"


def _deploy_errors() -> list[str]:
    """Return the chapter of deploy.sh: its kinds, and the causes of each."""
    codes = failure.KINDS
    lines = ["", "## deploy.sh", "", "A wrong command line ends with 2, too.", ""]
    lines += ["| code | kind | what failed |", "| --- | --- | --- |"]
    for kind, (name, what) in DEPLOY_KINDS.items():
        lines.append(f'| <a id="{codes[kind]}"></a>{codes[kind]} | {name} | {what} |')
    for kind, (name, _) in DEPLOY_KINDS.items():
        lines += ["", f"### {name}: {codes[kind]}", "", *HEAD]
        lines += [_cause_row(cause, *words) for cause, words in DEPLOY_CAUSES.items() if failure.CAUSES[cause] == kind]
    return lines


FAULT = ("There is a fault in Cuelens itself, or a driver broke.", "Run it again with `--debug`, and report it.")
HEAD = ["| identifier | cause | what to do |", "| --- | --- | --- |"]


def _cause_row(name: str, cause: str, do: str) -> str:
    return f'| <a id="{name}"></a>`{name}` | {cause} | {do} |'


def error_kinds() -> list[type[errors.CuelensError]]:
    """Return every class of edge/errors.py that a user can meet, in the order of the file."""
    kinds = [item for item in vars(errors).values() if inspect.isclass(item)]
    return [kind for kind in kinds if issubclass(kind, errors.CuelensError)]


def _cause_and_remedy(kind: type[errors.CuelensError]) -> tuple[str, str]:
    if kind.identify() not in REMEDIES:
        raise ValueError(f"edge/diagnostics/remedies.py does not say what to do about {kind.identify()}; add a line")
    return inspect.cleandoc(kind.__doc__ or "").replace("\n", " "), REMEDIES[kind.identify()]


def main() -> int:
    """Write what is not current, or with --check only name it."""
    stale = [(path, text) for path, text in make_pages().items() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        print(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    return errors.ResultsStale.exit_code if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
