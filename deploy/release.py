"""`./deploy.sh release`: the wheel and the sdist of this commit with their checksums, and the tag that is left to make.

It tags, pushes and uploads nothing: .github/workflows/release.yml attests and keeps what a pushed tag names.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from deploy.bundle import os_failure
from deploy.failure import Failure
from deploy.packages import ROOT, git
from deploy.parser import Parser
from deploy.tools import last_line, run, say
from deploy.verify import sha256_of

SUMS = "SHA256SUMS"
_ENTRY = re.compile(r"^## \[(\d[^\]]*)\](?: - (\S+))?$", re.MULTILINE)  # keepachangelog.com
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def newest_entry(changelog: str) -> str:
    """Return the version of a changelog's newest release; raises Failure without one, or without its date."""
    found = _ENTRY.search(changelog)
    if found is None:
        raise Failure(
            "checkout-incomplete", "CHANGELOG.md has no release; valid is a line such as ## [0.1.0] - 2026-11-30"
        )
    if not _DATE.fullmatch(found[2] or ""):
        raise Failure(
            "checkout-incomplete", f"CHANGELOG.md: {found[1]} has no date; valid is ## [{found[1]}] - 2026-11-30"
        )
    return found[1]


def check_version(root: Path) -> str:
    """Return the version that pyproject.toml and the changelog agree on; raises Failure where they do not."""
    version: str = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    newest = newest_entry((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if version != newest:
        raise Failure(
            "checkout-incomplete",
            f"pyproject.toml has version {version}, CHANGELOG.md's newest release is {newest}; make them the same",
        )
    return version


def check_commit(root: Path, version: str) -> bool:
    """Return whether this commit has the version's tag.

    Raises Failure where the checkout is not one commit, or where the tag is on another one.
    """
    try:
        changed = git(root, "status", "--porcelain").split("\n")[0]
    except Failure as failure:
        raise Failure(failure.cause, f"{root} is no clone ({failure}); release from a clone") from failure
    if changed:
        raise Failure(
            "checkout-incomplete",
            f"the checkout differs from its commit, first in '{changed[3:]}'; commit or remove that",
        )
    tag = f"refs/tags/v{version}"
    if not git(root, "for-each-ref", tag):
        return False
    tagged = git(root, "rev-parse", "--verify", f"{tag}^{{commit}}")
    if tagged != git(root, "rev-parse", "HEAD"):
        raise Failure(
            "checkout-incomplete",
            f"v{version} is the tag of {tagged[:12]}; raise the version, or check that commit out",
        )
    return True


def build(root: Path, out: Path) -> list[Path]:
    """Build the sdist, the wheel from it, and their checksums into `out`; returns the files.

    Raises Failure where a build fails, or where the checkout makes another wheel than the sdist does.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sdist = _hatch(root, "sdist", Path(scratch) / "sdist")
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        wheel = _hatch(Path(scratch) / sdist.name.removesuffix(".tar.gz"), "wheel:standard", Path(scratch) / "wheel")
        direct = _hatch(root, "wheel:standard", Path(scratch) / "direct")
        if sha256_of(wheel) != sha256_of(direct):
            raise Failure(
                "checkout-incomplete",
                "the sdist makes another wheel than the checkout; add what it lacks to pyproject.toml",
            )
        made = [out / path.name for path in (sdist, wheel)]
        for path, target in zip((sdist, wheel), made, strict=True):
            target.write_bytes(path.read_bytes())
    sums = out / SUMS
    sums.write_text("".join(f"{sha256_of(path)}  {path.name}\n" for path in made), encoding="utf-8")
    return [*made, sums]


def _hatch(source: Path, target: str, folder: Path) -> Path:
    done = run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=source)
    files = list(folder.glob("cuelens-*"))
    if done.returncode or len(files) != 1:
        raise Failure("checkout-incomplete", f"{target} could not be built: {last_line(done)}")
    return files[0]


def main(argv: list[str] | None = None) -> int:
    """Build the artefacts of a release, and print what is left to do."""
    parser = Parser(
        prog="./deploy.sh release",
        description="Build wheel, sdist and checksums of this commit. It tags, pushes and uploads nothing.",
        epilog="example: ./deploy.sh release",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="folder for them; default dist/"
    )
    args = parser.parse_args(argv)
    try:
        version = check_version(ROOT)
        tagged = check_commit(ROOT, version)
        for path in build(ROOT, args.out):
            print(path)
    except Failure as failure:
        say(failure.line)
        return failure.exit_code
    except OSError as error:
        refusal = os_failure(error, args.out)
        say(refusal.line)
        return refusal.exit_code
    tag = "" if tagged else f"git tag --annotate v{version} --message v{version} && "
    say(f"to release it: {tag}git push origin v{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
