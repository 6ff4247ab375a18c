"""
Prepares the site that servers show at `/docs`, as hooks of MkDocs.

A server's Content-Security-Policy forbids inline scripts, so these become files. Swagger UI comes from the package
mkdocs-swagger-ui-tag. Programs read `llms.txt` (llmstxt.org) and the pages as Markdown.
"""

import hashlib
import html
import re
import shutil
from importlib import metadata
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

#: Scripts and styles that one page has, relative to the site.
_OF_PAGES: Final = {
    "index.md": ["site/error-codes.js"],
    "api-reference.md": [
        "assets/swagger-ui/swagger-ui.css",
        "site/api-reference.css",
        "assets/swagger-ui/swagger-ui-bundle.js",
        "site/api-reference.js",
    ],
}
_SWAGGER_UI: Final = (
    "javascripts/swagger-ui-bundle.js",
    "stylesheets/swagger-ui.css",
    "LICENSE",
    "NOTICE",
)
#: What no page of this site loads: source maps, stemmers of other languages, and what needs the site's address.
_UNUSED: Final = ("**/*.map", "assets/javascripts/lunr", "sitemap.xml*", "404.html", "objects.inv")
_ICON: Final = Path(__file__).parents[1] / "src/runstead/web/static/framework/icon.svg"
_INLINE_SCRIPT: Final = re.compile(r"<script>(.+?)</script>", re.DOTALL)
_ERROR_CODE: Final = re.compile(r"^\| `([A-Z][A-Z_]+)` \|", re.MULTILINE)
_REFERENCE: Final = re.compile(r"^::: ", re.MULTILINE)
_DESCRIPTION: Final = re.compile(r"\A# (?P<title>.+)\n+(?P<first>(?:[^\n]+\n?)+)")

_navigation: Navigation
_markdown: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the dashboard's icon."""
    files.append(File.generated(config, "images/icon.svg", abs_src_path=str(_ICON)))
    return files


def on_nav(nav: Navigation, **_: Any) -> None:
    """Remember the order of the pages."""
    global _navigation  # noqa: PLW0603 - hooks of MkDocs are functions of a module
    _navigation = nav


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return the page with an anchor for each error code, and the place of Swagger UI."""
    path = page.file.src_path
    _markdown[path] = markdown
    if path.startswith("reference/"):
        page.meta["search"] = {"boost": 0.5}  # it has most words, and is rarely what a search is for
    if path == "index.md":
        page.meta["hide"] = ["navigation"]
    if path == "errors.md":
        for code in set(_ERROR_CODE.findall(markdown)):
            markdown = markdown.replace(f"\n| `{code}` |", f'\n| <a id="{code}"></a>`{code}` |', 1)
    if path == "api-reference.md":
        page.meta["hide"] = ["navigation", "toc"]
        return markdown + '\n<div id="swagger-ui"></div>\n'
    return markdown


def on_page_content(content: str, page: Page, **_: Any) -> None:
    """Keep the text of a page that MkDocs makes from docstrings."""
    path = page.file.src_path
    if _REFERENCE.search(_markdown[path]):
        _markdown[path] = _text(content)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Return the page with its scripts as files."""

    def as_file(script: re.Match[str]) -> str:
        digest = hashlib.sha256(script[1].encode()).hexdigest()[:8]
        name = f"assets/javascripts/inline.{digest}.min.js"
        file = Path(config.site_dir) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script[1])
        return f'<script src="{get_relative_url(name, page.url)}"></script>'

    output = _INLINE_SCRIPT.sub(as_file, output)
    for name in _OF_PAGES.get(page.file.src_path, ()):
        url = get_relative_url(name, page.url)
        if name.endswith(".css"):
            output = output.replace("</head>", f'<link rel="stylesheet" href="{url}"></head>')
        else:
            output = output.replace("</body>", f'<script src="{url}"></script></body>')
    return output


def on_post_build(config: MkDocsConfig) -> None:
    """Add Swagger UI, licences and texts for programs, and delete what the site does not use."""
    site = Path(config.site_dir)
    for pattern in _UNUSED:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (site / "assets/swagger-ui").mkdir(parents=True, exist_ok=True)
    for name in _SWAGGER_UI:
        source = resources("mkdocs_swagger_ui_tag") / "swagger-ui" / name
        (site / "assets/swagger-ui" / Path(name).name).write_bytes(source.read_bytes())
    for file in metadata.files("mkdocs-material") or ():
        if file.name == "LICENSE" and "dist-info" in str(file):
            (site / "assets/mkdocs-material.LICENSE").write_bytes(file.read_binary())
    _write_texts(site, config)


def _write_texts(site: Path, config: MkDocsConfig) -> None:
    """Write each page as Markdown, all of them in one file, and their list."""
    listed, whole = [f"# {config.site_name}\n\n> {config.site_description}"], []
    section = None
    for page in _navigation.pages:
        markdown = _markdown[page.file.src_path]
        (site / page.url / "index.md").write_text(markdown)
        whole.append(f"<!-- /docs/{page.url} -->\n{markdown.strip()}")
        if (own := _top(page)) != section:
            section = own
            listed.append(f"\n## {section}\n")
        found = _DESCRIPTION.match(markdown)
        about = re.split(r"(?<=\.)\s", found["first"].replace("\n", " "), maxsplit=1)[0] if found else ""
        title = page.title if found is None else found["title"]
        listed.append(f"- [{title}](/docs/{page.url}index.md): {about}".rstrip(": "))
    (site / "llms.txt").write_text("\n".join(listed) + "\n")
    (site / "llms-full.txt").write_text("\n\n".join(whole) + "\n")


def _top(page: Page) -> str:
    """Return the title of the section of the navigation's first level."""
    found, section = "Start", page.parent
    while isinstance(section, Section):
        found, section = section.title, section.parent
    return found


def _text(content: str) -> str:
    """Return the text of a page in HTML, with its headings as Markdown."""
    content = re.sub(r"<h(\d)[^>]*>\s*", lambda found: "\n" + "#" * int(found[1]) + " ", content)
    content = re.sub(r'<a class="headerlink".*?</a>|<[^>]+>', "", content, flags=re.DOTALL)
    return re.sub(r"\n\s*\n\s*", "\n\n", html.unescape(content)).strip() + "\n"
