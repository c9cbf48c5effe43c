"""The check of the built site finds what it is there for."""

from __future__ import annotations

from pathlib import Path

from docs.pages.check import problems


def site(folder: Path, body: str, style: str = "") -> Path:
    (folder / "other.html").write_text("<h1 id='top'>Other</h1>")
    (folder / "style.css").write_text(style)
    (folder / "index.html").write_text(f"<link rel='stylesheet' href='style.css'><p id='here'></p>{body}")
    return folder


def test_good_links_inside_and_any_outside_are_no_problem(tmp_path: Path) -> None:
    good = (
        "<a href='other.html#top'></a><a href='#here'></a><a href='https://arxiv.org/abs/1'></a><img src='style.css'>"
    )
    assert problems(site(tmp_path, good, "body { background: url('data:image/png;base64,AA') }")) == []


def test_missing_files_and_places_are_found(tmp_path: Path) -> None:
    found = problems(site(tmp_path, "<a href='gone.html'></a><a href='other.html#gone'></a><a href='#gone'></a>"))
    assert [line.partition(" links to ")[2] for line in found] == [
        "gone.html: there is no such file",
        "other.html#gone: there is no such place in the page",
        "#gone: there is no such place in the page",
    ]


def test_whatever_is_fetched_from_outside_is_found(tmp_path: Path) -> None:
    tags = (
        "<script src='https://cdn.example/a.js'></script><img src='//example/a.png'>"
        "<link rel='stylesheet' href='http://example/a.css'>"
    )
    found = problems(site(tmp_path, tags, "@import 'https://fonts.example/a'; p { src: url(//fonts.example/b) }"))
    assert len([line for line in found if "fetches" in line]) == 4


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path} holds no page"]
