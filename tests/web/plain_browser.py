"""A browser without JavaScript, signed in: it follows links and sends forms as they stand in pages."""

import re
from html.parser import HTMLParser

import httpx2


class _Forms(HTMLParser):
    """[(action, hidden fields)] of a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.found.append((given.get("action", ""), {}))
        elif tag == "input" and given.get("type") == "hidden" and self.found:
            self.found[-1][1][given["name"]] = given.get("value", "")


class PlainBrowser:
    """Use it in a `with`. `get` and `send` give answers that may be redirections; `page` follows them."""

    def __init__(self, url, credential):
        self.http = httpx2.Client(base_url=url, headers={"Accept": "text/html"}, timeout=20)
        answer = self.http.post("/ui/sign-in", data={"credential": credential})
        assert answer.status_code == 303, answer.text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def get(self, path, **headers):
        return self.http.get(path, headers=headers)

    def page(self, path):
        """The text of a page that must be there."""
        answer = self.http.get(path, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.text

    def form(self, path, action, **chosen):
        """What stands ready in the form of the page that goes to this address, or to one that ends so; `chosen` are hidden
        fields by which it is told from others.
        """
        for to, fields in _Forms(self.http.get(path).text).found:
            if to.endswith(action) and chosen.items() <= fields.items():
                return to, fields
        raise AssertionError(f"{path} has no form for {action} with {chosen}")

    def send(self, path, action, fields=None, **chosen):
        """Fill in that form and send it."""
        to, ready = self.form(path, action, **chosen)
        return self.http.post(to, data=ready | (fields or {}))

    def told(self, answer):
        """What the page after a change says was done."""
        assert answer.status_code == 303, answer.text
        page = self.page(answer.headers["location"])
        return re.search(r'<p class="told">(.*?)</p>', page)[1]


def refusal(answer):
    """The sentence with which a form was refused."""
    return re.search(r'role="alert">(.*?)</p>', answer.text, re.DOTALL)[1]
