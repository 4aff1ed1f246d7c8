"""`deploy.sh bundle`: one signed file for each target, with all that a device needs and no network; and its check.

Nothing in it depends on the machine, the time or the folder it is built in: one commit and one key give one sequence of
bytes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy.bill import bill_of_materials
from deploy.failure import Failure
from deploy.keys import default_key, ensure_key, public_key, sign, signers_line
from deploy.packages import (
    ARCHES,
    EPOCH,
    FULL,
    ROOT,
    SUITES,
    TARGETS,
    Pin,
    Target,
    build_project,
    counted,
    fetch,
    locked,
    progress_bar,
    project_version,
    read_wheel,
    refused,
)
from deploy.parser import Parser
from deploy.tools import last_line, run, say
from deploy.verify import (
    PAYLOAD,
    SIGNATURE,
    SUMS,
    Contents,
    Refused,
    check_payload,
    check_signature,
    open_bundle,
    open_payload,
    read_member,
    refusing,
    sha256_of,
)

FILES = {  # a bundle's, and where the checkout has them
    "cuelens-safe.service": "deploy/device/cuelens-safe.service",
    "cuelens-settle.service": "deploy/device/cuelens-settle.service",
    "cuelens.service": "deploy/cuelens.service",
    "cuelens.toml": "deploy/cuelens.toml",
}
INSTALLER = ("deploy/device/install.sh", "deploy/device/pack.sh")


def add(archive: tarfile.TarFile, name: str, content: bytes | Path, epoch: int, bar: Any = None) -> None:
    """Add a file to a tar as root's, of that time, whoever has it and since when."""
    entry = tarfile.TarInfo(name)
    entry.uname = entry.gname = "root"
    entry.mtime = epoch
    entry.mode = 0o755 if name.endswith(".sh") else 0o644
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    with content.open("rb") as file:
        entry.size = content.stat().st_size
        archive.addfile(entry, file if bar is None else counted(file, bar))


def build(
    version: str,
    target: Target,
    wheels: Iterable[Path],
    files: Mapping[str, bytes],
    key: Path,
    out: Path,
    *,
    epoch: int = EPOCH,
) -> Path:
    """Make OUT/cuelens-VERSION-SUITE-ARCH.tar, whole or not at all; returns its path.

    `wheels` are what is installed, and pip's. `files` are the other files by name (install.sh, cuelens.service, ...);
    VERSION, TARGET, SHA256SUMS, sbom.cdx.json, requirements.txt and allowed_signers are made here. `key` is a private
    Ed25519 key (`ensure_key` makes one). Raises Failure, and OSError where `out` cannot be written.
    """
    found = sorted((read_wheel(path, target) for path in wheels), key=lambda wheel: wheel.name)
    pins = (Pin(wheel.name, wheel.version, (wheel.sha256,)) for wheel in found if wheel.name != "pip")
    contents: dict[str, bytes | Path] = {
        **files,
        "VERSION": f"{version}\n".encode(),
        "TARGET": f"{target} {target.minor}\n".encode(),
        "allowed_signers": signers_line(key).encode(),
        "requirements.txt": "".join(f"{pin}\n" for pin in pins).encode(),
        "sbom.cdx.json": bill_of_materials(version, target, found, epoch),
        **{f"wheels/{wheel.path.name}": wheel.path for wheel in found},
    }
    digests = {f"wheels/{wheel.path.name}": wheel.sha256 for wheel in found}
    for name, content in contents.items():
        if isinstance(content, bytes):
            digests[name] = hashlib.sha256(content).hexdigest()
    contents[SUMS] = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()
    bundle = out / f"cuelens-{version}-{target.suite}-{target.arch}.tar"
    out.mkdir(parents=True, exist_ok=True)
    total = sum(wheel.path.stat().st_size for wheel in found)
    with (
        tempfile.TemporaryDirectory(dir=out, prefix=f".{bundle.name}-") as folder,
        progress_bar(f"packing {target}", 2 * total) as bar,
    ):
        payload, whole = Path(folder) / PAYLOAD, Path(folder) / bundle.name
        with tarfile.open(payload, "w") as archive:
            for name in sorted(contents):
                add(archive, name, contents[name], epoch, bar)
        with tarfile.open(whole, "w") as archive:
            add(archive, SIGNATURE, sign(key, payload), epoch)
            add(archive, PAYLOAD, payload, epoch, bar)
        verify(whole)
        whole.replace(bundle)
    return bundle


def verify(path: Path, signers: bytes | None = None) -> Contents:
    """Check a bundle as a device does: its signature, then its list of files, then each one's sha256.

    `signers` is what an allowed_signers file states; None takes the bundle's own: then it is whole, whoever made it.
    Raises Failure.
    """
    try:
        with open_bundle(path) as (payload, signature):
            if signers is None:
                with open_payload(payload) as archive, refusing():
                    signers = read_member(archive, "allowed_signers")
                payload.seek(0)
            signer = check_signature(payload, signature, signers)
            payload.seek(0)
            with open_payload(payload) as archive:
                contents = check_payload(archive)
    except Refused as refusal:
        raise Failure("bundle-invalid", f"{path}: {_why(refusal)}") from refusal
    return contents._replace(signer=signer)


def _why(refusal: Refused) -> str:
    again = "build or copy it again"
    match refusal.cause:
        case "names":
            return f"not a bundle (it has {str(refusal) or 'nothing'}); {again}"
        case "signature":
            return f"the signature is not good ({refusal}); take the maker's own bundle and key"
        case "sums":
            return f"{refusal}; {again}"
        case _:
            return f"not a whole bundle ({refusal}); {again}"


def packed_installer(root: Path = ROOT) -> bytes:
    """The installer as one file, of which a device gets this; raises Failure."""
    done = run("bash", root / "deploy" / "device" / "pack.sh")
    if done.returncode:
        raise Failure(
            "checkout-incomplete", f"{root}: the installer cannot be packed ({last_line(done)}); take a whole clone"
        )
    return done.stdout.encode()


def make(targets: Iterable[Target], out: Path) -> None:
    """Build the checkout's bundles into a folder; prints each one's sha256 and path."""
    version, epoch = project_version()
    key = ensure_key(default_key())
    public_key(key)
    if missing := [name for name in (*FILES.values(), *INSTALLER) if not (ROOT / name).is_file()]:
        raise Failure("checkout-incomplete", f"{ROOT} lacks {', '.join(missing)}; take a whole clone")
    files = {name: (ROOT / source).read_bytes() for name, source in FILES.items()} | {"install.sh": packed_installer()}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".project-") as folder:
        project = build_project(version, epoch, Path(folder))
        for target in targets:
            wheels = fetch(locked(target), target, ROOT / ".cache" / "wheels")
            bundle = build(version, target, [*wheels, project], files, key, out, epoch=epoch)
            print(f"{sha256_of(bundle)}  {bundle}", flush=True)


def check(path: Path, signers: Path | None) -> None:
    """Check a bundle and print what is in it; without `signers` it is held to the maker's own key, if there is one."""
    key = default_key()
    if signers:
        known = signers.read_bytes()
    elif key.exists():
        known = signers_line(key).encode()
    else:
        known = None
        say(f"no key {key} here: only held to the key that the bundle itself brings; name another with --signers")
    contents = verify(path, known)
    print(f"cuelens {contents.version} for {contents.target}, signed by {contents.signer}")
    for name, size in contents.sizes.items():
        print(f"{size:12}  {name}")


def os_failure(error: OSError, place: Path) -> Failure:
    """The failure behind an operating system's refusal."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure("space-short", FULL)
    return Failure(
        "path-refused",
        f"{refused(error, place)}; name a folder that you may write (--out, TMPDIR), a file that you may read",
    )


def main(argv: list[str] | None = None) -> int:
    """Build the bundles of the options, or check one; returns deploy.sh's exit code."""
    parser = Parser(prog="deploy.sh bundle", description="Make signed release files for devices, one for each target.")
    parser.add_argument("--suite", choices=tuple(SUITES), help="of the device's system; default each")
    parser.add_argument("--arch", choices=ARCHES, help="of the device; default each")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for them; default dist/")
    parser.add_argument("--verify", type=Path, metavar="FILE", help="check a bundle instead, and list what is in it")
    parser.add_argument("--signers", type=Path, metavar="FILE", help="allowed_signers that --verify holds it to")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what removes half a bundle
    try:
        if args.verify:
            check(args.verify, args.signers)
        else:
            make((target for target in TARGETS if {args.suite, args.arch} <= {None, *target}), args.out)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (Failure, OSError) as error:
        if args.debug:
            raise
        failure = error if isinstance(error, Failure) else os_failure(error, args.out)
        if isinstance(error, OSError) and args.verify:
            failure = Failure(
                "path-refused", f"{refused(error, args.verify)}; give --verify and --signers files that are there"
            )
        say(failure.line)
        return failure.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
