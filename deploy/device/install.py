"""What the commands do that change which release is there: install, apply, prove and remove."""

from __future__ import annotations

import platform
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.device import build, command, releases, service, trial, units
from deploy.device.options import Options
from deploy.device.programs import ask, base, place, say, step
from deploy.device.system import PACKAGES, is_booted, need_writable, python_version, system_value
from deploy.device.user import remove_user
from deploy.failure import Failure
from deploy.tools import first_absent
from deploy.verify import (
    SUMS,
    Contents,
    Refused,
    check_signature,
    contents_of,
    is_signed,
    open_bundle,
    open_payload,
    read_member,
    refusing,
)

NAMES = ("cuelens", "cuelens-safe", "cuelens-settle")  # units
SETTING = re.compile(rb"^([a-z_]+ *=)", re.MULTILINE)


def install(options: Options, clock: service.Clock) -> None:
    """Install a bundle, start it, and go back where it does not work; raises Failure."""
    if lacking := first_absent(PACKAGES):
        raise Failure("device-tools", lacking)
    need_writable()
    releases.lock()
    trial.take_back()
    with verified(options) as archive:
        version = put_release(archive, options)
    step("putting the settings in place")
    changed = put_settings(version, options.settings)
    put_signers(version)
    step("putting the units in place")
    changed |= units.put_units()
    command.put_on_path()
    if releases.version_of("current") == version and releases.is_usable("current"):
        say(f"{version} is the release here already")
    else:
        step("making it the release that starts")
        flip(version)
        changed = True
    if not options.start or not is_booted():
        say(f"{version} is installed; it starts at the next boot")
        return
    step("starting it")
    if changed or service.complaint(version):
        service.restart()
    step("waiting for its first frame")
    trial.try_current(options.deadline, clock)
    step("removing older releases")
    releases.remove_old(0)
    say(f"{version} works")


@contextmanager
def verified(options: Options) -> Iterator[tarfile.TarFile]:
    """The payload of a bundle, opened once its signature was found good; raises Failure."""
    bundle, signers = Path(options.bundle), Path(options.signers or place(units.SIGNERS))
    step("checking the signature")
    if not bundle.is_file():
        raise Failure("bundle-damaged", f"{bundle}: no such file; give a bundle that ./deploy.sh bundle made")
    if not signers.is_file() or not signers.stat().st_size:
        raise Failure(
            "signer-unknown",
            "no key is known here that a release must be signed by; the first time give it with --signers FILE",
        )
    try:
        with open_bundle(bundle) as (payload, signature):
            try:
                check_signature(payload, signature, signers.read_bytes())
            except Refused:
                if is_signed(payload, signature):
                    raise Failure(
                        "signer-unknown",
                        f"{bundle}: signed by a key that is not in {signers}; a bundle of that key is taken with "
                        "--signers FILE",
                    ) from None
                raise
            payload.seek(0)
            step("reading the bundle")
            with open_payload(payload) as archive:
                yield archive
    except Refused as refusal:
        raise Failure("bundle-damaged", f"{bundle}: {_why(refusal)}") from refusal


def _why(refusal: Refused) -> str:
    match refusal.cause:
        case "names":
            return f"no signed bundle (in it: {refusal}); give one that ./deploy.sh bundle made"
        case "members":
            return f"no bundle as it was made ({refusal}); copy it again"
        case "signature":
            return f"not as it was signed ({refusal}); build or copy it again"
        case _:
            return f"not whole ({refusal}); build or copy it again"


def put_release(archive: tarfile.TarFile, options: Options) -> str:
    """Build the release of a verified payload unless it is there; returns its version. Raises Failure and Refused."""
    contents, sizes = contents_of(archive), build.sizes_of(archive)
    version = contents.version
    if not releases.VERSION.fullmatch(version):
        raise Failure("bundle-damaged", f"{options.bundle}: '{version}' is no version; build it again")
    check_target(contents)
    if releases.is_whole(version):
        with refusing():
            sums = read_member(archive, SUMS)
        if not holds(releases.release(version) / SUMS, sums):
            if releases.is_named(version):
                raise Failure(
                    "installation-failed",
                    f"{version} is installed here with other contents; remove all releases first, with: "
                    "sudo /opt/cuelens/current/install.sh remove",
                )
            releases.drop(version)
    step("removing what an earlier one left")
    releases.remove_half()
    if releases.version_of("current") != version:
        trial.end_trial()
    if not releases.is_whole(version):
        releases.remove_old(1)
        build.check_space(sizes)
        build.build(archive, version, options.settings)
    return version


def check_target(contents: Contents) -> None:
    """Raise Failure where a bundle is for another device than this."""
    suite, arch, python = (*contents.target.split(), "", "", "")[:3]
    if (mine := platform.machine()) != arch:
        raise Failure(
            "device-architecture", f"this bundle is for {arch}, this device is {mine}; give the one for {mine}"
        )
    if (mine := system_value("VERSION_CODENAME")) != suite:
        raise Failure(
            "device-system",
            f"this bundle is for {suite}, this system is {mine or 'unknown'}; give the one for {mine or 'it'}",
        )
    if (mine := python_version() or "missing") != python:
        raise Failure(
            "device-tools", f"this bundle is for Python {python}, python3 here is {mine}; use the system's own Python"
        )


def holds(path: Path, content: bytes) -> bool:
    """Return whether a file is there with this content."""
    return path.is_file() and path.read_bytes() == content


def put_settings(version: str, given: Path | None) -> bool:
    """Put the given settings in place, and keep those before; without any, a file that sets nothing.

    Says whether the settings changed.
    """
    settings = place(units.SETTINGS)
    before = settings.read_bytes() if settings.exists() else None
    if given is None:
        if before is None:  # a later release has other defaults, perhaps, and settings of another name
            text = (releases.release(version) / "cuelens.toml").read_bytes()
            releases.replace(settings, SETTING.sub(rb"# \1", text))
        return False
    wanted = given.read_bytes()
    if wanted == before:
        return False
    if before is not None:
        releases.replace(settings.with_name(f"{settings.name}.old"), before)
    if releases.version_of("current") != version:
        releases.replace(base() / f"before-{version}", before or b"")
    releases.replace(settings, wanted)
    return True


def put_signers(version: str) -> None:
    """Have the next bundle signed as this release is, and keep the keys known before until it was seen working."""
    signers = place(units.SIGNERS)
    wanted = (releases.release(version) / "allowed_signers").read_bytes()
    if holds(signers, wanted):
        return
    if signers.exists() and releases.version_of("current") != version:
        releases.replace(base() / f"signers-before-{version}", signers.read_bytes())
    releases.replace(signers, wanted)


def flip(version: str) -> None:
    """Have a release start from now on."""
    trial.forget_trial()
    if not releases.is_usable("good"):  # the first: there is none that would be better
        releases.set_link("good", version)
    releases.set_link("current", version)


def prove(options: Options, clock: service.Clock) -> None:
    """Wait until the release that starts works, or go back; raises Failure."""
    releases.need_release()
    releases.lock()
    if units.write_drop_ins():
        service.restart()
    trial.try_current(options.deadline, clock)
    releases.remove_old(0)
    say(f"{releases.version_of('current')} works")


def apply(options: Options, clock: service.Clock) -> None:
    """Take changed settings: try them, give the service what they need, start again; go back where it does not work."""
    releases.need_release()
    releases.lock()
    version, settings = releases.version_of("current"), place(units.SETTINGS)
    build.try_out(base() / "current", options.settings)
    before = settings.read_bytes() if settings.exists() else None
    changed = put_settings(version, options.settings)
    units.write_drop_ins()
    if not is_booted():
        return
    service.restart()
    missing = service.wait_for(version, options.deadline, clock)
    if not missing:
        return
    service.show_log()
    words = f"it does not work with these settings: {missing}"
    if not changed:
        raise Failure("release-failed", words)
    if before is None:  # a cuelens.toml.old is of another time
        settings.unlink()
    else:
        releases.replace(settings, before)
    units.write_drop_ins()
    service.restart()
    raise Failure("release-failed", f"{words}; those before are back")


def remove(everything: bool) -> None:
    """Remove all that was installed; settings and what was saved only with `everything`."""
    releases.lock()
    trial.end_trial()
    if is_booted():
        ask("systemctl", "stop", "cuelens-prove.service", *(f"{name}.service" for name in NAMES))
    links = [f"{folder}/{name}.service" for name in NAMES for folder in (units.WANTS, units.UNITS)]
    command.take_off_path()
    remove_user()
    for path in (units.DROP_IN, units.SAFE_DROP_IN, units.JOURNAL, *links):
        place(path).unlink(missing_ok=True)
        place(f"{path}.new").unlink(missing_ok=True)
    if everything:
        for path in ("/etc/cuelens", "/var/lib/cuelens", "/var/lib/private/cuelens"):
            wipe(place(path))
        for path in (units.DROP_IN, units.SAFE_DROP_IN):
            wipe(place(path).parent)
    folders = [place(path).parent for path in (units.DROP_IN, units.SAFE_DROP_IN, units.JOURNAL)]
    for folder in (*folders, place(units.UNITS), place(units.UNITS).parent):
        with suppress(OSError):
            folder.rmdir()
    wipe(base())
    if is_booted():
        for words in (("daemon-reload",), ("reset-failed", "cuelens*"), ("restart", "systemd-journald.service")):
            ask("systemctl", *words)
    kept = "" if everything else ", but for the settings in /etc/cuelens and what was saved in /var/lib/cuelens"
    say(f"removed{kept}")


def wipe(path: Path) -> None:
    """Remove a folder or a link, whether or not it is there."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
