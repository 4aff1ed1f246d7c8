"""A bundle's check, the same where it is made and where it is installed: its signature, its list of files, each file.

Standard library alone: the installer takes it along. On a device nothing of a payload is used before `check_signature`
has passed; where a bundle is made, the keys that it names are read first.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, NamedTuple

from deploy.failure import plain
from deploy.tools import last_line, run

SIGNER, NAMESPACE = "cuelens", "cuelens-release"
SIGNATURE, PAYLOAD = "payload.tar.sig", "payload.tar"
SUMS = "SHA256SUMS"
LARGEST_SIGNATURE, LARGEST_HEADER, LARGEST_MEMBER = 1 << 16, 1 << 16, 1 << 28  # bytes; each is read whole
EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
NOT_WHOLE = (tarfile.TarError, zipfile.BadZipFile, KeyError, ValueError, EOFError, OverflowError, RecursionError)


class Refused(Exception):
    """Why a bundle is refused: the kind of cause, and what was seen."""

    def __init__(self, cause: Literal["form", "members", "names", "signature", "sums"], seen: str) -> None:
        super().__init__(seen)
        self.cause = cause


class Contents(NamedTuple):
    """What a payload says of itself, its files' sizes in bytes, and who signed it, where that was looked at."""

    version: str
    target: str
    sizes: dict[str, int]
    signer: str = ""


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what tarfile and zipfile raise of what is not whole into Refused."""
    try:
        yield
    except NOT_WHOLE as error:
        raise Refused("form", plain(str(error))) from error


@contextmanager
def open_bundle(path: Path) -> Iterator[tuple[IO[bytes], bytes]]:
    """Open a bundle: its payload as a file, and its signature. Raises Refused, and OSError where it cannot be read."""
    _refuse_large_headers(path)
    with refusing():
        outer = tarfile.open(path, "r:")  # noqa: SIM115
    with outer:
        with refusing():
            members = members_of(outer)
            if [member.name for member in members] != [SIGNATURE, PAYLOAD]:
                raise Refused("names", plain(", ".join(member.name for member in members)))
            signature, payload = (outer.extractfile(member) for member in members)
            if not signature or not payload or members[0].size > LARGEST_SIGNATURE:
                raise Refused("members", f"its signature has more than {LARGEST_SIGNATURE} bytes")
            signed = signature.read()
        yield payload, signed


def _refuse_large_headers(path: Path) -> None:
    """Raise Refused for a large header that describes another: tarfile would read it whole, before any signature.

    What is damaged otherwise is left to tarfile.
    """
    with path.open("rb") as file:
        at, end = 0, path.stat().st_size
        while 0 <= at < end:
            file.seek(at)
            try:
                header = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
            except tarfile.HeaderError:
                return
            if header.type in EXTENDED and header.size > LARGEST_HEADER:
                raise Refused("members", f"a header of {header.size} bytes")
            if header.size < 0:
                return
            at += tarfile.BLOCKSIZE * (1 + -(-header.size // tarfile.BLOCKSIZE))


def members_of(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """A tar's members; raises Refused for what is no plain file, ValueError for what lies before the former."""
    members: list[tarfile.TarInfo] = []
    while member := archive.next():  # a size below 0 makes tarfile loop without an end
        if member.size < 0 or (members and member.offset <= members[-1].offset):
            raise ValueError("a member lies before the one before it")
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):  # a sparse one of a terabyte takes a block
            raise Refused("members", f"{plain(member.name)} is no plain file")
        members.append(member)
    return members


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of a tar whose members were looked at; raises KeyError where there is none, ValueError where too large."""
    member = archive.getmember(name)
    if member.size > LARGEST_MEMBER:
        raise ValueError(f"{plain(name)} has {member.size} bytes, more than {LARGEST_MEMBER}")
    return member_file(archive, name).read()


def member_file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of a tar, open; raises KeyError where there is none."""
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file")
    return file


def check_signature(payload: IO[bytes], signature: bytes, signers: bytes) -> str:
    """Hold a payload to its signature and to the keys of an allowed_signers file; returns the key's fingerprint.

    Raises Refused, and Failure where ssh-keygen is missing.
    """
    with _files(sig=signature, signers=signers) as folder:
        words = ["ssh-keygen", "-Y", "verify", "-f", f"{folder}/signers", "-I", SIGNER, "-n", NAMESPACE]
        done = run(*words, "-s", f"{folder}/sig", given=payload)
    if done.returncode:
        raise Refused("signature", last_line(done))
    return done.stdout.split()[-1]


def is_signed(payload: IO[bytes], signature: bytes) -> bool:
    """Return whether a signature is a payload's, whoever made it."""
    with _files(sig=signature) as folder:
        words = ["ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", f"{folder}/sig"]
        return run(*words, given=payload).returncode == 0


@contextmanager
def _files(**contents: bytes) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
        yield folder


@contextmanager
def open_payload(payload: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """Open a payload as a tar of plain files; raises Refused."""
    with refusing():
        archive = tarfile.open(fileobj=payload, mode="r:")  # noqa: SIM115
        members_of(archive)
    with archive:
        yield archive


def check_payload(archive: tarfile.TarFile) -> Contents:
    """Hold a payload's files to its SHA256SUMS; returns what it says of itself. Raises Refused."""
    with refusing():
        sums = read_member(archive, SUMS)
        check_sums(sums, archive.getnames(), lambda name: digest_of(member_file(archive, name)))
        return contents_of(archive)


def contents_of(archive: tarfile.TarFile) -> Contents:
    """What a payload says of itself; raises Refused."""
    with refusing():
        version, target = (read_member(archive, name).decode().strip() for name in ("VERSION", "TARGET"))
        return Contents(version, target, {member.name: member.size for member in archive.getmembers()})


def check_sums(sums: bytes, names: Iterable[str], digest: Callable[[str], str]) -> None:
    """Hold files to what SHA256SUMS says, which must list them all but itself; `digest` gives one's sha256 in hex.

    Raises Refused, ValueError where the list is none, and what `digest` raises.
    """
    lines = (line.split("  ", 1) for line in sums.decode().splitlines())
    listed = {name: wanted for wanted, name in lines}
    if sorted(names) != sorted((*listed, SUMS)):
        raise Refused("sums", f"{SUMS} is not the list of its files")
    for name, wanted in listed.items():
        if digest(name) != wanted:
            raise Refused("sums", f"{plain(name)} has another sha256 than {SUMS} says")


def digest_of(file: IO[bytes]) -> str:
    """The sha256 in hex of what an open file, at its begin, holds."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # which reads into a buffer


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return digest_of(file)
