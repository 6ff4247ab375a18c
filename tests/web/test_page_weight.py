"""What a browser with an empty cache transfers for the two pages that are opened most."""

from .page_weight import fill, measure

BYTES_MAX = 100_000


def test_the_list_of_runs_and_a_run_are_small(open_tab, api):
    paths = fill(api)
    tab = open_tab("/ui/sessions")
    for path in paths:
        received, _ = measure(tab, path)
        assert 20_000 < received < BYTES_MAX, f"{path}: {received:,} bytes"
