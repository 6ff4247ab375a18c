from hypothesis import given, strategies as st

from runstead.sdk.transport.sse import Frame, Parser


def parse(*chunks):
    parser = Parser()
    return [frame for chunk in chunks for frame in parser.feed(chunk)]


def test_a_frame_has_its_id_event_and_data():
    assert parse(b"id: 7\nevent: Custom\ndata: {}\n\n") == [Frame("7", "Custom", "{}")]


def test_data_lines_are_joined_and_one_leading_space_is_dropped():
    assert parse(b"data:a\ndata:  b\ndata\n\n") == [Frame("", "message", "a\n b\n")]


def test_comments_and_unknown_fields_are_ignored():
    assert parse(b": heartbeat\n\ncolour: red\ndata: x\n\n") == [Frame("", "message", "x")]


def test_the_last_id_stays_until_another_comes():
    assert [f.id for f in parse(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")] == ["1", "1", ""]


def test_an_id_with_a_nul_is_ignored():
    assert parse(b"id: 1\nid: 2\x003\ndata: a\n\n") == [Frame("1", "message", "a")]


def test_a_frame_without_data_is_not_dispatched_and_forgets_its_event():
    assert parse(b"event: A\nid: 4\n\ndata: x\n\n") == [Frame("4", "message", "x")]


def test_a_frame_cut_off_by_the_end_is_dropped():
    assert parse(b"data: whole\n\ndata: cut") == [Frame("", "message", "whole")]


def test_a_byte_order_mark_is_skipped_once():
    assert parse(b"\xef\xbb", b"\xbfdata: x\n\n") == [Frame("", "message", "x")]


def test_retry_is_taken_where_it_is_digits():
    parser = Parser()
    parser.feed(b"retry: 1500\nretry: soon\n")
    assert parser.retry_ms == 1500


def test_a_line_ended_by_cr_is_whole_at_once():
    assert parse(b"data: x\r", b"\r") == [Frame("", "message", "x")]


lines = st.one_of(
    st.sampled_from([b"", b"", b"id: 9", b"event: E", b": c", b"data", b"data: \xe2\x82\xac", b"retry: 3"]),
    st.text("ab: \u20ac\U0001f600", max_size=6).map(str.encode),
    st.text("ab: \u20ac\U0001f600", max_size=6).map(lambda t: b"data:" + t.encode()),
)
endings = st.sampled_from([b"\n", b"\r", b"\r\n"])


def reference(text):
    """The standard's algorithm, applied to the whole text."""
    frames, last, event, data = [], "", "", []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                frames.append(Frame(last, event or "message", "\n".join(data)))
            event, data = "", []
        elif name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id":
            last = value
    return frames


@given(st.lists(st.tuples(lines, endings), max_size=30), st.data())
def test_chunks_may_be_cut_anywhere(parts, data):
    whole = b"".join(line + ending for line, ending in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert parse(*chunks) == reference(whole.decode())
    assert parse(*(bytes([byte]) for byte in whole)) == reference(whole.decode())
