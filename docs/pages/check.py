"""`python -m docs.pages.check FOLDER`: is every link of the built site good, and is nothing fetched from outside?

Sphinx resolves references between pages; what it copies into raw HTML, and what a theme adds, is seen only in the
result. Links to other sites are not followed, since the check runs offline.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Tags that make a browser fetch something, and the attribute that says from where.
_FETCHED = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "link": "href",
    "object": "data", "embed": "src",
}  # fmt: skip
#: A style sheet fetches by these.
_IN_STYLES = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])(https?:)?//", flags=re.IGNORECASE)


class _Page(HTMLParser):
    """The names that a page can be entered at, its links, and what it fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in _FETCHED and _FETCHED[tag] in given:
            self.fetched.append(given[_FETCHED[tag]])


def problems(site: Path) -> list[str]:
    """Return what is wrong with a built site, one line each."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site} holds no page"]
    for path, page in pages.items():
        shown = path.relative_to(site)
        found += [f"{shown} fetches {url}" for url in page.fetched if urlsplit(url).netloc]
        for url in [*page.links, *page.fetched]:
            if not urlsplit(url).scheme and not urlsplit(url).netloc and (reason := _broken(path, url, pages)):
                found.append(f"{shown} links to {url}: {reason}")
    for path in sorted(site.rglob("*.css")):
        if _IN_STYLES.search(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(site)} fetches from another place")
    return found


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _broken(origin: Path, url: str, pages: dict[Path, _Page]) -> str | None:
    parts = urlsplit(url)
    target = (origin.parent / unquote(parts.path)).resolve() if parts.path else origin.resolve()
    if not target.is_file():
        return "there is no such file"
    known = {path.resolve(): page for path, page in pages.items()}
    if parts.fragment and target in known and unquote(parts.fragment) not in known[target].names:
        return "there is no such place in the page"
    return None


def main() -> int:
    """Run the command; returns 1 if something is wrong."""
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) if found else "every internal link is good, and nothing is fetched from outside")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
