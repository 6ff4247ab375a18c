"""
Fits the pages of the repository to the site that `make docs` builds, as hooks of MkDocs.

GitHub renders the same files. The hooks add the pages of the root folder, adapt links to files
outside of the site, and indent the contents of lists as Python-Markdown needs it.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).parents[1]
#: Pages of the root folder, and their paths in the site.
ROOT_PAGES: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}
_FENCED: Final = re.compile(r"^([ ]*)(```+)\w*\n.*?^\1\2$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_IMAGE: Final = re.compile(r'((?:src|srcset)=")([^":]+)"')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root folder."""
    for page, path in ROOT_PAGES.items():
        files.append(File.generated(config, path, content=(ROOT / page).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the text of a page with links and lists of the site."""
    path = page.file.src_path
    source = next((root for root, own in ROOT_PAGES.items() if own == path), f"docs/{path}")
    parts, end = [], 0
    for fenced in _FENCED.finditer(markdown):
        parts += [_text(markdown[end : fenced.start()], source, path), _indented(fenced[0], len(fenced[1]))]
        end = fenced.end()
    return "".join([*parts, _text(markdown[end:], source, path)])


def _text(text: str, source: str, path: str) -> str:
    """Return text outside of code blocks."""
    lines = (
        _indented(line, len(line) - len(line.lstrip(" "))) if line.strip() else line
        for line in text.split("\n")
    )
    text = "\n".join(lines).replace("<details>", '<details markdown="1">')
    text = _IMAGE.sub(lambda image: f'{image[1]}{_target(image[2], source, path)}"', text)
    return _LINK.sub(lambda link: _link(link, source, path), text)


def _link(link: re.Match[str], source: str, path: str) -> str:
    target = _target(link[3], source, path)
    return link[2] if target is None else f"{link[1]}[{link[2]}]({target}{link[4] or ''})"


def _target(link: str, source: str, path: str) -> str | None:
    """Return a link relative to the page's path in the site. None: the site does not have the file."""
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if file in ROOT_PAGES:
        own = ROOT_PAGES[file]
    elif file.startswith("docs/") and (ROOT / file).is_file():
        own = file.removeprefix("docs/")
    else:
        return None
    return posixpath.relpath(own, posixpath.dirname(path) or ".")


def _indented(block: str, spaces: int) -> str:
    """Return lines of a list with four spaces for each level. GitHub takes two or three."""
    if spaces == 0:
        return block
    level = " " * (4 * ((spaces + 3) // 4))
    return re.sub(rf"^ {{{spaces}}}", level, block, flags=re.MULTILINE)
