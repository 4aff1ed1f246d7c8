"""What the finder's two networks share: a contract as JSON beside the file, and an interpreter held to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from edge.errors import ContractUnreadable, ModelMissing, ModelUnreadable
from edge.files import read_file
from edge.system.quiet import quiet
from edge.vision.model import (
    LARGEST_CONTRACT,
    Tensor,
    check_content,
    check_tensor,
    load_interpreter,
    read_tensor,
)


class Promise(Protocol):
    """What a contract of either says of its file."""

    @property
    def sha256(self) -> str:
        """Of the whole file, in hex."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def input(self) -> Tensor:
        """The one input."""


@contextmanager
def contract_table(path: Path, formats: tuple[int, ...], network: str) -> Iterator[dict[str, Any]]:
    """Give the JSON of a contract of one of those formats; what is wrong in it, or in its use here, is named.

    `network` is verifier or scanner. Raises ModelMissing or ContractUnreadable.
    """
    try:
        table = json.loads(read_file(path, LARGEST_CONTRACT))
        if table["format"] not in formats:
            valid = " and ".join(map(str, formats))
            raise ContractUnreadable(f"{path}: format {table['format']!r}; this version reads {valid}")
        yield table
    except FileNotFoundError as error:
        raise ModelMissing(f"{path}: no such file; install the {network} and its contract together") from error
    except ContractUnreadable:
        raise
    except KeyError as error:
        raise ContractUnreadable(f"{path}: no key {error}; write the contract with cuelens-{network}") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ContractUnreadable(f"{path}: {error}; a contract is JSON written by cuelens-{network}") from error


def open_network(path: Path, content: bytes, contract: Promise) -> Any:
    """Return an interpreter of a .tflite file's content, its file and input held to the contract.

    Raises ModelUnreadable, ModelShape, ContractMismatch, RuntimeMissing.
    """
    check_content(path, content, contract.size, contract.sha256)
    try:
        with quiet():
            interpreter, _ = load_interpreter(content)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelUnreadable(f"{path}: {error}; this runtime cannot load it") from error
    (given,) = interpreter.get_input_details()
    check_tensor(path, "input", read_tensor(given), contract.input)
    return interpreter
