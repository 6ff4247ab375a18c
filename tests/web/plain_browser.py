"""A signed-in browser without JavaScript, which reads and sends the forms of pages."""

import re
from html.parser import HTMLParser

import httpx2


class _Forms(HTMLParser):
    """The forms of a page: [(action, hidden fields)]."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "form":
            self.found.append((attributes.get("action", ""), {}))
        elif tag == "input" and attributes.get("type") == "hidden" and self.found:
            self.found[-1][1][attributes["name"]] = attributes.get("value", "")


class PlainBrowser:
    """A context manager. `get` and `send` do not follow redirects, `page` does."""

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
        """The HTML of a page that must exist."""
        answer = self.http.get(path, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.text

    def form(self, path, action, **hidden):
        """The address and hidden fields of the page's form whose action ends with `action`.

        `hidden` are values of hidden fields that select one of several forms.
        """
        for to, fields in _Forms(self.http.get(path).text).found:
            if to.endswith(action) and hidden.items() <= fields.items():
                return to, fields
        raise AssertionError(f"{path} has no form for {action} with {hidden}")

    def send(self, path, action, fields=None, **hidden):
        """Fill in that form and send it. Return the response."""
        to, fields_of_form = self.form(path, action, **hidden)
        return self.http.post(to, data=fields_of_form | (fields or {}))

    def flash_after(self, answer):
        """The flash message of the page to which a change redirects."""
        assert answer.status_code == 303, answer.text
        page = self.page(answer.headers["location"])
        return re.search(r'<p class="flash">(.*?)</p>', page)[1]


def refusal(answer):
    """The error message of a rejected form."""
    return re.search(r'role="alert">(.*?)</p>', answer.text, re.DOTALL)[1]
