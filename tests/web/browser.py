"""A browser of a test, and what it must never see."""

from importlib.resources import files

from playwright.sync_api import BrowserContext, expect

_AXE = files("axe_playwright_python") / "axe.min.js"
#: What WCAG 2.2 asks for at level AA, and what axe holds to be good practice.
_AXE_RUN = (
    "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
)
_BREACHES = "document.addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"


class Tab:
    """One tab in a context of its own; `page` is Playwright's. `troubles` are errors of scripts, breaches of the policy, and
    requests that left the server.
    """

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.context = context
        self._base_url = base_url
        context.add_init_script(_BREACHES)
        self.page = context.new_page()
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("console", lambda said: said.type == "error" and self._complain(said.text))
        self.page.on("request", self._ours)

    def _complain(self, text: str) -> None:
        # What the browser itself says of an answer of ours such as 404, which a test may well ask for.
        if not text.startswith("Failed to load resource: the server responded"):
            self.troubles.append(text)

    def _ours(self, request) -> None:
        if not request.url.startswith((self._base_url, "data:", "blob:")):
            self.troubles.append(f"a request to {request.url}")

    def open(self, path: str) -> None:
        self.page.goto(path)

    def sign_in(self, credential: str) -> None:
        self.open("/ui/sign-in")
        self.page.get_by_label("API key or token").fill(credential)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("navigation", name="Project")).to_be_visible()

    def serious(self) -> list[str]:
        """What axe finds that keeps people out: each with the elements that it means."""
        # As the browser's own tools do: axe is not the page's, and the page's policy does not hold for it.
        self.context.new_cdp_session(self.page).send(
            "Runtime.evaluate", {"expression": _AXE.read_text(), "awaitPromise": False}
        )
        found = self.page.evaluate(_AXE_RUN)["violations"]
        return [
            f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def close(self) -> None:
        self.context.close()
