"""How a command of deploy/ fails, here and on a device. Standard library alone: the installer takes it along."""

from __future__ import annotations

# venv.sh's `die` reads both tables here, a line each; docs/errors.md has what to do about each cause.
KINDS = {  # and their exit codes, of which edge/errors.py has none but 2
    "usage": 2,
    "host": 70,
    "installation": 73,
    "key": 77,
    "download": 78,
    "path": 86,
    "checkout": 88,
    "bundle": 89,
    "device": 90,
    "release": 99,
    "image": 100,
    "card": 107,
}
CAUSES = {  # and their kinds
    "command-line": "usage",
    "python-unusable": "host",
    "machine-unsupported": "host",
    "venv-missing": "host",
    "emulator-missing": "host",
    "tool-missing": "host",
    "installation-failed": "installation",
    "key-unusable": "key",
    "download-failed": "download",
    "emulator-download-failed": "download",
    "package-foreign": "download",
    "path-refused": "path",
    "space-short": "path",
    "checkout-incomplete": "checkout",
    "link-dead": "checkout",
    "bundle-invalid": "bundle",
    "bundle-damaged": "bundle",
    "signer-unknown": "bundle",
    "device-silent": "device",
    "root-needed": "device",
    "device-architecture": "device",
    "device-system": "device",
    "device-tools": "device",
    "device-space-short": "device",
    "device-read-only": "device",
    "release-failed": "release",
    "image-missing": "image",
    "image-damaged": "image",
    "image-checksum": "image",
    "image-foreign": "image",
    "image-unsupported": "image",
    "image-32-bit": "image",
    "image-unfit": "image",
    "disk-refused": "card",
    "card-faulty": "card",
    "flash-means-missing": "card",
}


class Failure(Exception):
    """A failure with one line for the maker, its cause, and the exit code of the cause's kind.

    Raises KeyError for a cause that the table does not have.
    """

    def __init__(self, cause: str, words: str) -> None:
        super().__init__(words)
        self.cause = cause
        self.exit_code = KINDS[CAUSES[cause]]

    @property
    def line(self) -> str:
        """What a person reads, and the stable identifier of its cause, which scripts may match."""
        return f"{self} [{self.cause}]"


def plain(name: str) -> str:
    """A name that somebody else chose, as a terminal may show it."""
    return f"{name if name.isprintable() else ascii(name):.200}"
