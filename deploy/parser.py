"""The command lines of deploy's programs: a wrong one ends as every other failure does, with its cause."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from deploy.failure import Failure


class Parser(argparse.ArgumentParser):
    """argparse's, whose error is a line with the identifier that scripts may match."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end with exit code 2; words that no terminal may show are spelt out."""
        self.print_usage(sys.stderr)
        failure = Failure("command-line", message if message.isprintable() else ascii(message))
        self.exit(failure.exit_code, f"{self.prog}: error: {failure.line}\n")
