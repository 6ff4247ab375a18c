"""The Content-Security-Policy of the pages (https://www.w3.org/TR/CSP3/)."""

from urllib.parse import urlsplit


def policy(codec_url: str | None = None) -> str:
    """Return the policy: only files of this server, no inline scripts or styles, no frames.

    The scripts of a page may also call the codec endpoint.
    """
    place = urlsplit(codec_url or "")
    codec = f" {place.scheme}://{place.netloc}" if codec_url else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        f" connect-src 'self'{codec}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
