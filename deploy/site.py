"""`./deploy.sh docs`: gathers README, the pages and what they link to, and builds a site of them with MkDocs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from deploy.failure import Failure
from deploy.parser import Parser
from deploy.tools import hand_over, say

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / ".cache" / "site"
STYLE = Path("deploy", "site.css")
LINK = re.compile(r"\]\(\s*([^)\s]+?)(?:#[^)\s]*)?\s*\)")


def gather(root: Path, start: str = "README.md") -> list[Path]:
    """Return the files that the start page and the pages behind it link to, as paths below `root`.

    Raises Failure with the page and the target where that does not exist, or is a folder.
    """
    found: list[Path] = []
    waiting = [Path(start)]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.append(page)
        if page.suffix != ".md":
            continue
        for target in links(root / page):
            path = Path(os.path.normpath(page.parent / target))
            if not (root / path).is_file():
                raise Failure("link-dead", f"{page} links to {target}, which is no file; correct the link")
            waiting.append(path)
    return sorted(found)


def links(page: Path) -> list[str]:
    """Return the relative targets of a page's links and pictures, without their anchors; code is no link."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = (match[1] for match in LINK.finditer(text))
    return [target for target in targets if target and not re.match(r"#|[a-z]+:", target)]


def build(root: Path, out: Path) -> int:
    """Build the site into `out`; returns MkDocs' exit code. Raises Failure."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for path in [*gather(root), STYLE]:
        target = STAGE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)
    variables = {"CUELENS_SITE_SOURCE": str(STAGE), "CUELENS_SITE": str(out), "NO_MKDOCS_2_WARNING": "1"}
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--clean"]
    return hand_over(*words, "--config-file", root / "deploy" / "mkdocs.yml", variables=variables)


def main() -> int:
    """Build the site, and print where it is."""
    parser = Parser(
        prog="./deploy.sh docs",
        description="Build the site of the documentation. It loads nothing from elsewhere; its search needs a server.",
        epilog="example: ./deploy.sh docs && python3 -m http.server --bind 127.0.0.1 --directory dist/site",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "dist" / "site",
        metavar="FOLDER",
        help="folder to build into; default dist/site",
    )
    args = parser.parse_args()
    try:
        code = build(ROOT, args.out.absolute())
    except Failure as failure:
        say(failure.line)
        return failure.exit_code
    if code == 0:
        print(args.out / "index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
