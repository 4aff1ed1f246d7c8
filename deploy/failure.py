"""How a command of deploy/ fails, here and on a device. Standard library alone: the installer takes it along."""

from __future__ import annotations

CAUSES = {  # by exit code; venv.sh's `die` reads them here, a line each, and docs/errors.md has all but 2
    2: "command-line",
    70: "python-unusable",
    71: "machine-unsupported",
    72: "venv-missing",
    73: "installation-failed",
    74: "emulator-missing",
    75: "emulator-download-failed",
    76: "ssh-keygen-missing",
    77: "key-unusable",
    78: "download-failed",
    79: "package-foreign",
    86: "path-refused",
    87: "space-short",
    88: "checkout-incomplete",
    89: "bundle-invalid",
    90: "device-silent",
    91: "root-needed",
    92: "device-architecture",
    93: "device-system",
    94: "device-tools",
    95: "device-space-short",
    96: "device-read-only",
    97: "bundle-damaged",
    98: "signer-unknown",
    99: "release-failed",
    100: "image-missing",
    101: "image-damaged",
    102: "image-checksum",
    103: "image-foreign",
    104: "image-unsupported",
    105: "image-32-bit",
    106: "image-unfit",
    107: "disk-refused",
    108: "card-faulty",
    109: "flash-means-missing",
}


class Failure(Exception):
    """A failure with one line for the maker, and an exit code."""

    def __init__(self, exit_code: int, words: str) -> None:
        super().__init__(words)
        self.exit_code = exit_code

    @property
    def line(self) -> str:
        """What a person reads, and the cause's stable identifier, which scripts may match."""
        return f"{self} [{CAUSES[self.exit_code]}]"


def plain(name: str) -> str:
    """A name that somebody else chose, as a terminal may show it."""
    return f"{name if name.isprintable() else ascii(name):.200}"
