"""Somebody who is signed in and reads pages without JavaScript."""

import html
import re
import secrets

import httpx2


class Person:
    """`get` reads a page, `post` sends a form of this session, each time anew. Answers are httpx2's; redirects are not followed."""

    def __init__(self, server, key=None):
        self.http = httpx2.Client(base_url=server.url, headers={"Accept": "text/html"}, timeout=30)
        answer = self.http.post("/ui/sign-in", data={"credential": key or server.key})
        assert answer.status_code == 303, answer.text
        self.csrf = hidden(self.get("/ui/sessions"), "csrf")

    def get(self, path, status=200, **query):
        answer = self.http.get(path, params=query or None)
        assert answer.status_code == status, (answer.status_code, words(answer))
        return answer

    def post(self, path, status=303, **fields):
        answer = self.http.post(path, data={"csrf": self.csrf, "once": secrets.token_hex(16), **fields})
        assert answer.status_code == status, (answer.status_code, words(answer))
        return answer

    def told(self, path, **fields):
        """What the page says that a form leads to, as its text."""
        return words(self.get(self.post(path, **fields).headers["location"]))

    def close(self):
        self.http.close()


def words(answer):
    """The text of a page as it is read."""
    body = answer.text.partition("<main")[2] or answer.text
    text = re.sub(r"<(script|style|datalist)\b.*?</\1>", "", body, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def hidden(answer, name):
    """The value of the first hidden field of this name."""
    return re.search(rf'name="{name}" value="([^"]*)"', answer.text)[1]


def fits(tab, *widths):
    """Whether the page needs no scrolling sideways, at each of these widths."""
    for width in widths:
        tab.page.set_viewport_size({"width": width, "height": 800})
        wide = tab.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px at {width} px"
    return True
