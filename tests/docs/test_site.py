"""README is short, every link of every page leads somewhere, and the site builds strictly."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.failure import Failure
from deploy.site import gather, links

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in gather(ROOT) if path.suffix == ".md"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page: of its headings, as GitHub and MkDocs make them, and its own."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
    return made | set(re.findall(r'id="([^"]+)"', text))


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) < 5000


def test_every_page_is_reached_from_readme_and_stands_in_the_sites_contents() -> None:
    contents = (ROOT / "deploy" / "mkdocs.yml").read_text(encoding="utf-8")
    assert {*(ROOT / "docs").rglob("*.md")} <= {ROOT / page for page in PAGES}
    for page in PAGES:
        assert f": {page}\n" in contents or page.parent.name == "decisions", page


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_anchor_that_a_page_links_to_is_there(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)\s#:]*)#([^)\s]+)\)", text):
        other = (ROOT / page.parent / target).resolve() if target else ROOT / page
        assert anchor in anchors(other), f"{page}: {target}#{anchor}"


def test_a_dead_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("[one](other.md) `[code](no.md)` [web](https://example.org) [here](#here)")
    (tmp_path / "other.md").write_text("![picture](gone.png)")
    assert links(tmp_path / "README.md") == ["other.md"]
    with pytest.raises(Failure, match=r"other\.md links to gone\.png") as caught:
        gather(tmp_path)
    assert (caught.value.cause, caught.value.exit_code) == ("link-dead", 88)


@pytest.mark.slow
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "deploy.sh", "docs", "--out", tmp_path / "site"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        path = page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")
        html = (tmp_path / "site" / path).read_text(encoding="utf-8")
        # A link of the text may lead into the web; what the page itself loads may not.
        loaded = re.sub(r'<a [^>]*href="[^"]*"|xmlns(?::\w+)?="[^"]*"', "", html)
        assert "://" not in re.sub(r"<(article).*?</\1>|<title>.*?</title>|<!--.*?-->", "", loaded, flags=re.DOTALL), (
            page
        )
    assert (tmp_path / "site" / "search" / "search_index.json").exists()
