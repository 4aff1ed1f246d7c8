"""The installer's command line; install.sh starts it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NoReturn

from deploy.device.options import Options, read_options
from deploy.device.programs import base, place, say
from deploy.device.releases import LINKS, lock, need_release, version_of
from deploy.device.service import Clock
from deploy.device.system import facts, need_root
from deploy.device.trial import mark_good, roll_back, settle, show_status
from deploy.failure import Failure

USAGE = """\
usage: install.sh COMMAND, as root

  install BUNDLE   install a release, start it, and go back by itself if it does not work
    --signers FILE   allowed_signers that it must be signed by; default /etc/cuelens/allowed_signers
    --settings FILE  settings to put in the place of /etc/cuelens/cuelens.toml, which is kept as cuelens.toml.old
    --deadline N     seconds within which it must work; default 90
    --no-start       leave the start, and the proof that it works, to the next boot
  apply            take changed settings: see that they are valid, what they need, and start again with them
    --settings FILE  the same with these
    --deadline N     as for install; rollback and prove take it, too
  rollback         go back to the release before
  mark-good        say that the release on trial works
  status           list the releases
  facts            what this device is, as key=value
  settle           at boot: remove what is half, give a release on trial its one boot
  prove            wait until the release on trial works, or go back
  remove [--all]   remove everything; settings and what was saved only with --all
"""
ROOTS = ("install", "settle", "prove", "apply", "rollback", "mark-good", "remove")


def change(command: str, options: Options, clock: Clock) -> None:
    """Do what changes the device; raises Failure."""
    need_root(command)
    if command == "settle":
        settle()
        return
    # What reads bundles takes longer to import than `settle` takes to run, and at each boot the service waits for that.
    from deploy.device import install

    if command == "remove":
        install.remove(options.everything)
    elif command == "install":
        if not options.bundle:
            raise Failure("command-line", "install needs a BUNDLE")
        install.install(options, clock)
    elif command == "mark-good":
        need_release()
        lock()
        mark_good()
    elif command == "rollback":
        roll_back(options.deadline, clock)
    else:
        {"prove": install.prove, "apply": install.apply}[command](options, clock)


def do(command: str, words: list[str]) -> None:
    """Do one command; raises Failure."""
    if command in ("", "help", "-h", "--help"):
        print(USAGE, end="")
        return
    if command not in (*ROOTS, "facts", "status"):
        valid = "install, apply, rollback, mark-good, status, facts, settle, prove and remove"
        raise Failure("command-line", f"unknown command '{command}'; valid are {valid}")
    options = read_options(command, words)
    if command == "facts":
        signers = "yes" if place("/etc/cuelens/allowed_signers").exists() else "no"
        found = {**facts(), "signers": signers, **{link: version_of(link) for link in LINKS}}
        print("".join(f"{name}={value}\n" for name, value in found.items()), end="")
    elif command == "status":
        show_status()
    else:
        change(command, options, Clock())


def main(words: list[str]) -> int:
    """Do what the command line names; returns the exit code."""
    os.umask(0o022)
    os.environ["LC_ALL"] = "C.UTF-8"
    for number in (signal.SIGHUP, signal.SIGPIPE):  # a connection that breaks is no reason to stop in the middle
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):  # by way of what removes half a release
        signal.signal(number, stop)
    command, *rest = words or [""]
    try:
        do(command, rest)
    except Failure as failure:
        say(failure.line)
        return failure.exit_code
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = f"free some space on {base()}" if full else "see what dmesg says of the disk"
        said = f"{error.filename or base()}: {error.strerror}; {advice}, then start again"
        refusal = Failure("device-space-short" if full else "installation-failed", said)
        say(refusal.line)
        return refusal.exit_code
    return 0


def stop(number: int, _: object) -> NoReturn:
    """End by way of what removes half a release."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
