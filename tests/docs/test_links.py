"""Every link leads somewhere, and no page names what readers do not have."""

from .pages import PAGES, ROOT, anchors, each_page, links, name, text


@each_page
def test_links_of_a_page_lead_to_files_and_headings(page):
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert target.resolve().is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_guide_and_decision_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [
            (page.parent / link.partition("#")[0]).resolve()
            for link in links(page)
            if "://" not in link and link[0] != "#"
        ]
    assert [name(page) for page in PAGES if page not in reached] == []


@each_page
def test_a_page_is_short_enough_to_read(page):
    if page.name != "CHANGELOG.md":  # it is searched rather than read
        assert text(page).count("\n") < 300
    assert max(len(line) for line in text(page).splitlines() if not line.startswith("|")) <= 130


def test_decisions_are_numbered_without_gaps():
    numbers = [
        int(page.name[:4]) for page in PAGES if page.parent.name == "decisions" and page.name != "README.md"
    ]
    assert numbers == list(range(1, len(numbers) + 1))
