"""A signed-in HTTP client that reads pages without JavaScript."""

import html
import re
import secrets

import httpx2


class WebClient:
    """`get` reads a page; `post` sends a form with a new form token. Redirects are not followed."""

    def __init__(self, server, key=None):
        self.http = httpx2.Client(base_url=server.url, headers={"Accept": "text/html"}, timeout=30)
        answer = self.http.post("/ui/sign-in", data={"credential": key or server.key})
        assert answer.status_code == 303, answer.text
        self.csrf = hidden(self.get("/ui/sessions"), "csrf")

    def get(self, path, status=200, **query):
        answer = self.http.get(path, params=query or None)
        assert answer.status_code == status, (answer.status_code, page_text(answer))
        return answer

    def post(self, path, status=303, **fields):
        answer = self.http.post(path, data={"csrf": self.csrf, "form_token": secrets.token_hex(16), **fields})
        assert answer.status_code == status, (answer.status_code, page_text(answer))
        return answer

    def submit(self, path, **fields):
        """Send a form. Return the text of the page to which it redirects."""
        return page_text(self.get(self.post(path, **fields).headers["location"]))

    def close(self):
        self.http.close()


def page_text(answer):
    """The visible text of a page."""
    body = answer.text.partition("<main")[2] or answer.text
    text = re.sub(r"<(script|style|datalist)\b.*?</\1>", "", body, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def hidden(answer, name):
    """The value of the first hidden field of this name."""
    return re.search(rf'name="{name}" value="([^"]*)"', answer.text)[1]


def fits(tab, *widths):
    """Check that the page does not scroll sideways at any of these widths."""
    for width in widths:
        tab.page.set_viewport_size({"width": width, "height": 800})
        wide = tab.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px at {width} px"
    return True
