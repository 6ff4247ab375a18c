"""A browser tab for tests, with its accessibility checks and error collection."""

from importlib.resources import files

from playwright.sync_api import BrowserContext, expect

#: For a test that fails. An idle machine takes a tenth of a second.
expect.set_options(timeout=60_000)

_AXE = files("axe_playwright_python") / "axe.min.js"
#: The rules of WCAG 2.2 at level AA, and axe's best practices.
_AXE_TAGS = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
_AXE_RUN = "axe.run(document, {runOnly: %s, resultTypes: ['violations'], preload: false})"
_AXE_COLOURS = "{type: 'rule', values: ['color-contrast']}"
_LOG_VIOLATIONS = "document.addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"


class Tab:
    """One tab in its own browser context. `page` is Playwright's page.

    `errors` collects script errors, violations of the content security policy, and requests to other servers.
    """

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.context = context
        self._base_url = base_url
        context.add_init_script(_LOG_VIOLATIONS)
        self.page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(f"error: {error}"))
        self.page.on("console", lambda message: message.type == "error" and self._add_error(message.text))
        self.page.on("request", self._check_request)

    def _add_error(self, text: str) -> None:
        # The browser logs an error response such as 404, which a test may expect.
        if not text.startswith("Failed to load resource: the server responded"):
            self.errors.append(text)

    def _check_request(self, request) -> None:
        if not request.url.startswith((self._base_url, "data:", "blob:")):
            self.errors.append(f"a request to {request.url}")

    def open(self, path: str) -> None:
        self.page.goto(path)

    def sign_in(self, credential: str) -> None:
        self.open("/ui/sign-in")
        self.page.get_by_label("API key or token").fill(credential)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_text("Account", exact=True)).to_be_visible()

    def accessibility_violations(self, only_colours: bool = False) -> list[str]:
        """Violations that axe finds, with their elements."""
        if not self.page.evaluate("'axe' in window"):
            # Injected through the debugger, since the page's content security policy would block the script.
            self.context.new_cdp_session(self.page).send(
                "Runtime.evaluate", {"expression": _AXE.read_text(), "awaitPromise": False}
            )
        violations = self.page.evaluate(_AXE_RUN % (_AXE_COLOURS if only_colours else _AXE_TAGS))[
            "violations"
        ]
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {[node['target'] for node in one['nodes']]}"
            for one in violations
        ]

    def close(self) -> None:
        self.context.close()
