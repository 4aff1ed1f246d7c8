"""A release on trial: it is good once it was seen working, and goes back to the good one when it was not."""

from __future__ import annotations

from deploy.device.programs import ask, base, place, say
from deploy.device.releases import (
    LINKS,
    is_usable,
    is_whole,
    lock,
    need_release,
    remove_half,
    replace,
    set_link,
    version_of,
    whole_releases,
)
from deploy.device.service import Clock, restart, show_log, wait_for
from deploy.device.system import file_system, is_booted, read
from deploy.device.units import SETTINGS, SIGNERS, write_drop_ins
from deploy.failure import Failure

# What comes back with the release before, by the name under which what it held is kept.
BEFORE = {"before": SETTINGS, "signers-before": SIGNERS}


def mark_good() -> None:
    """Call the release that starts a good one."""
    good, current = version_of("good"), version_of("current")
    if good != current:
        if good:
            set_link("previous", good)
        set_link("good", current)
        (base() / "failed").unlink(missing_ok=True)
    forget_trial()
    take_back()


def forget_trial() -> None:
    """Forget which version a boot was spent on."""
    (base() / "tried").unlink(missing_ok=True)


def take_back() -> None:
    """Put back what was replaced, settings and known keys, for releases which are not the current one."""
    current = version_of("current")
    for name, path in BEFORE.items():
        for kept in sorted(base().glob(f"{name}-*")):
            if kept.name != f"{name}-{current}":
                replace(place(path), kept.read_bytes())
                if path == SETTINGS:
                    write_drop_ins()
            elif current != version_of("good"):
                continue  # on trial
            kept.unlink()


def end_trial() -> None:
    """Have the good release start where another is on trial, with what was there before that: another one comes."""
    good = version_of("good")
    if is_usable("good") and version_of("current") != good:
        set_link("current", good)
        forget_trial()
    take_back()


def go_back(why: str) -> None:
    """Go from a release on trial to the good one."""
    bad, good = version_of("current"), version_of("good")
    replace(base() / "failed", f"{bad} {why}\n".encode())
    set_link("current", good)
    forget_trial()
    take_back()
    say(f"{bad} was taken back: {why}; {good} is the release again")
    if is_booted():
        restart()


def try_current(deadline: int, clock: Clock) -> None:
    """Wait until the release that starts works, or go back; raises Failure where it does not."""
    version, good = version_of("current"), version_of("good")
    missing = wait_for(version, deadline, clock)
    if not missing:
        mark_good()
        return
    show_log()
    if version == good:
        raise Failure(
            "release-failed",
            f"{version} is installed but does not work: {missing}; the service goes on trying: mend what it names, "
            "then see cuelens check",
        )
    go_back(missing)
    if why := wait_for(good, deadline, clock):
        say(f"{good} does not work either: {why}")
    raise Failure("release-failed", f"{version} does not work: {missing}")


def settle() -> None:
    """At boot: remove what is half, have a whole release start, and give one on trial its one boot."""
    if not (base() / "releases").is_dir() or file_system() != "writable":
        return
    lock()
    remove_half()
    find_current()
    if not is_usable("current"):
        return
    if not is_usable("good"):
        mark_good()
    version = version_of("current")
    if version == version_of("good"):
        forget_trial()
        take_back()
    elif version == read(base() / "tried"):
        go_back("it was started once and not seen working before the power went")
    else:
        replace(base() / "tried", f"{version}\n".encode())
        if is_booted():
            ask("systemd-run", "--quiet", "--no-block", "--unit=cuelens-prove", base() / "good" / "install.sh", "prove")


def find_current() -> None:
    """Where no whole release starts, have the good one, the one before, or the newest start."""
    newest = [version for _, version in whole_releases()[:1]]
    for version in (version_of("good"), version_of("previous"), *newest):
        if not is_usable("current") and is_whole(version):
            set_link("current", version)
            if is_booted():
                restart()


def roll_back(deadline: int, clock: Clock) -> None:
    """By hand: take back the release on trial, or go to the one before."""
    need_release()
    lock()
    good, current, previous = map(version_of, ("good", "current", "previous"))
    if current != good:
        go_back("by hand")
        if is_booted() and (missing := wait_for(good, deadline, clock)):
            raise Failure("release-failed", f"{good} does not work either: {missing}")
    elif is_usable("previous") and previous != current:
        set_link("current", previous)
        forget_trial()
        if is_booted():
            restart()
            try_current(deadline, clock)
        say(f"{previous} is the release again; another rollback goes to {current}")
    else:
        raise Failure("release-failed", f"there is no release before {current} to go back to")


def show_status() -> None:
    """Print the releases, the newest first, and what became of the last one."""
    for _, version in whole_releases():
        links = [link for link in LINKS if version_of(link) == version]
        print(version, ", ".join(links))
    if version_of("current") != version_of("good"):
        print(f"on trial: {version_of('current')}")
    if (base() / "failed").exists():
        print(f"taken back: {read(base() / 'failed')}")
    if not is_usable("current"):
        print("no release is installed")
