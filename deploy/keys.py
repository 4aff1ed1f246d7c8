"""The maker's release key: where it is, its public half, and what it signs.

`python -m deploy.keys` prints the line of allowed_signers that `push` gives to a device which knows no key yet.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from deploy.failure import Failure
from deploy.packages import full_disk
from deploy.tools import last_line, run, say
from deploy.verify import NAMESPACE, SIGNER


def default_key() -> Path:
    """Where the maker's key is or will be."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("CUELENS_KEY") or Path(config) / "cuelens" / "release-key")


def ensure_key(path: Path) -> Path:
    """Make the release key (Ed25519, no passphrase, for its owner alone) unless it is there; returns its path."""
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".key-") as folder:
        made = Path(folder) / path.name
        done = run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAMESPACE, "-f", made)
        if done.returncode:
            raise Failure(
                "key-unusable", f"{path}: ssh-keygen made no key ({last_line(done)}); name another place in CUELENS_KEY"
            )
        try:
            path.hardlink_to(made)  # whole, and never over one that another start has made meanwhile
        except FileExistsError:
            return path
        made.with_name(f"{path.name}.pub").replace(path.with_name(f"{path.name}.pub"))
    say(f"made the release key {path}; keep it and a copy: a device that has its public half takes no other's bundles")
    return path


def public_key(key: Path) -> str:
    """The public half of a release key as "ssh-ed25519 BASE64"; raises Failure where the key is not to be used."""
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise Failure("key-unusable", f"{key}: {error.strerror}; name the release key in CUELENS_KEY") from error
    if mode & 0o077:
        raise Failure(
            "key-unusable", f"{key}: others may read the key (mode {mode:04o}); valid is 0600: chmod 600 {key}"
        )
    done = run("ssh-keygen", "-y", "-f", key)
    kind, _, rest = done.stdout.strip().partition(" ")
    if done.returncode:
        raise Failure(
            "key-unusable",
            f"{key}: not a key that can be used ({last_line(done)}); name the release key in CUELENS_KEY",
        )
    if kind != "ssh-ed25519":  # others sign the same with other bytes each time
        raise Failure(
            "key-unusable", f"{key}: a key of type {kind}; valid is ssh-ed25519: name such a one in CUELENS_KEY"
        )
    return f"{kind} {rest.split()[0]}"


def signers_line(key: Path) -> str:
    """What allowed_signers says of a release key."""
    return f'{SIGNER} namespaces="{NAMESPACE}" {public_key(key)}\n'


def sign(key: Path, file: Path) -> Path:
    """Sign a file; returns the signature's path beside it."""
    done = run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, file)
    if done.returncode:
        raise full_disk(done.stderr) or Failure(
            "key-unusable", f"{key}: could not sign ({last_line(done)}); look at the key"
        )
    return file.with_name(f"{file.name}.sig")


def main() -> int:
    """Print the line of allowed_signers that is of the maker's key."""
    try:
        print(end=signers_line(default_key()))
    except Failure as failure:
        say(Failure(failure.cause, f"{failure}, or give those that the bundle is signed by: --signers FILE").line)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
