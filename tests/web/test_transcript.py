"""The transcript, the log and the family of a growing run."""

from runstead.web.framework.growing_text import GrowingText
from runstead.web.runs import log_lines
from runstead.web.runs.family import children_shown_max, tree
from runstead.web.runs.log_lines import LineFilter, Lines
from runstead.web.runs.transcript import Transcript

from .run_records import custom, event, run


def transcript(*events):
    found = Transcript()
    for one in events:
        found.add(one)
    return found


def text(number, delta, message="m", kind="TEXT_MESSAGE_CONTENT"):
    return event(number, kind, messageId=message, delta=delta)


def test_a_message_grows_by_the_text_since_the_last_call():
    found = transcript(event(1, "TEXT_MESSAGE_START", messageId="m", role="assistant"), text(2, "Hel"))
    assert [(one.id, one.label, one.delta) for one in found.whole()] == [("part-1", "assistant", (0, "Hel"))]
    assert found.new() == []
    found.add(text(3, "lo "))
    found.add(text(4, "you"))
    [more] = found.new()
    assert (more.id, more.delta, more.state) == ("part-1", (3, "lo you"), "open")
    found.add(event(5, "TEXT_MESSAGE_END", messageId="m"))
    [over] = found.new()
    assert (over.delta, over.state) == ((9, ""), "done")


def test_offsets_are_counted_in_utf16_units():
    found = transcript(text(1, "a😀\x1b"))
    found.whole()
    found.add(text(2, "b"))
    assert found.new()[0].delta == (4, "b")


def test_strange_characters_are_made_visible_before_they_are_counted():
    found = transcript(text(1, "a\u202eb"))
    found.whole()
    found.add(text(2, "c"))
    assert found.new()[0].delta == (len("a⟨U+202E⟩b"), "c")


def test_reasoning_and_text_are_blocks_of_their_own():
    found = transcript(text(1, "hm", kind="REASONING_MESSAGE_CONTENT"), text(2, "Yes"))
    assert [(one.kind, one.delta.text) for one in found.whole()] == [("reasoning", "hm"), ("text", "Yes")]


def test_a_call_shows_raw_arguments_until_they_are_complete():
    found = transcript(
        event(1, "TOOL_CALL_START", toolCallId="c", toolCallName="search"),
        event(2, "TOOL_CALL_ARGS", toolCallId="c", delta='{"q":'),
    )
    [call] = found.whole()
    assert (call.kind, call.label, call.delta.text, call.arguments, call.state) == (
        "call",
        "search",
        '{"q":',
        None,
        "open",
    )
    found.add(event(3, "TOOL_CALL_ARGS", toolCallId="c", delta='"x"}'))
    found.add(event(4, "TOOL_CALL_END", toolCallId="c"))
    assert found.new()[0].arguments == '{\n  "q": "x"\n}'
    found.add(event(5, "TOOL_CALL_RESULT", toolCallId="c", content="[1]", isError=True))
    [over] = found.new()
    assert (over.result, over.state) == ("[1]", "failed")


def test_a_result_that_is_not_text_is_shown_as_json():
    found = transcript(event(1, "TOOL_CALL_RESULT", toolCallId="c", content="x", result={"a": 1}))
    assert found.whole()[0].result == '{\n  "a": 1\n}'


def test_a_message_that_started_earlier_continues():
    assert transcript(text(7, "lo")).whole()[0].id == "part-7"


def test_chunks_continue_the_last_block_unless_another_block_follows_it():
    found = transcript(
        event(1, "TEXT_MESSAGE_CHUNK", messageId="m", delta="a"),
        event(2, "TEXT_MESSAGE_CHUNK", delta="b"),
        event(3, "TOOL_CALL_START", toolCallId="c", toolCallName="t"),
        event(4, "TEXT_MESSAGE_CHUNK", delta="c"),
    )
    assert [one.delta.text for one in found.whole()] == ["ab", "", "c"]


def test_malformed_events_add_no_blocks():
    assert (
        transcript(
            event(1, "TOOL_CALL_ARGS", toolCallId=7, delta="x"),
            event(2, "TOOL_CALL_END", toolCallId="never"),
            event(3, "TEXT_MESSAGE_END", messageId="never"),
            event(4, "STATE_SNAPSHOT", snapshot={}),
        ).whole()
        == []
    )


def test_blocks_are_cut_at_a_limit():
    delta = GrowingText(10)
    delta.add("x" * 6)
    delta.add("y" * 1_000_000)
    delta.add("z")
    assert delta.whole.startswith("x" * 6 + "y" * 4 + " … ")
    assert len(delta.whole) < 100


def test_partial_log_lines_are_continued():
    lines = Lines()
    lines.add(custom(1, "run.log", {"lines": "one\ntw"}))
    assert [one.delta.text for one in lines.whole()] == ["one", "tw"]
    lines.add(custom(2, "run.log", {"lines": "o\nthree\n"}))
    assert [(one.id, one.delta) for one in lines.new()] == [
        ("line-1-1", (2, "o")),
        ("line-2-1", (0, "three")),
    ]
    assert [one.delta.text for one in lines.whole()] == ["one", "two", "three"]


def test_the_streams_of_a_program_do_not_mix():
    lines = Lines()
    lines.add(custom(1, "run.output", {"stream": "stdout", "text": "he"}))
    lines.add(custom(2, "run.output", {"stream": "stderr", "text": "oh\n"}))
    lines.add(custom(3, "run.output", {"stream": "stdout", "text": "llo\n"}))
    assert [one.delta.text for one in lines.whole()] == ["hello", "oh"]


def test_other_events_add_no_log_lines():
    lines = Lines()
    for number, (name, value) in enumerate(
        [("note", {"lines": "x"}), ("run.log", "x"), ("run.log", {"lines": 1})]
    ):
        lines.add(custom(number + 1, name, value))
    assert lines.whole() == []


def test_log_lines_are_searched_and_have_levels():
    lines, hidden = log_lines.stored_lines(
        "INFO a: fine\nERROR a: Broken\nWARNING a: broken soon\n", LineFilter("broken")
    )
    assert [(one.id, one.level) for one in lines] == [("line-0-1", "error"), ("line-0-2", "warning")]
    assert hidden == 0
    assert log_lines.stored_lines("\n".join(map(str, range(3_000))))[1] == 2_000


def test_lines_of_an_entry_have_its_level():
    log = (
        "2026-03-20T12:00:00.000Z ERROR [attempt 1] shop: no route\nTraceback:\n  ERROR-free line\n"
        "2026-03-20T12:00:01.000Z INFO [attempt 1] shop: the word ERROR is no level\n"
    )
    growing = Lines()
    growing.add(custom(1, "run.log", {"lines": log[:75]}))
    growing.add(custom(2, "run.output", {"stream": "stdout", "text": "printed\n"}))
    growing.add(custom(3, "run.log", {"lines": log[75:]}))
    assert [one.level for one in growing.whole()] == ["error", "error", "error", "", "info"]
    stored, _ = log_lines.stored_lines(log, LineFilter(level="warning"))
    assert [one.delta.text for one in stored] == log.splitlines()[:3]
    assert [one.level for one in stored] == ["error"] * 3
    assert log_lines.stored_lines(log, LineFilter("shop", "info"))[1] == 0
    assert len(log_lines.stored_lines(log, LineFilter("shop", "info"))[0]) == 2
    assert len(growing.whole(LineFilter(level="info"))) == 5


def test_a_family_tree_always_contains_the_current_run():
    root = run(seq=1)
    many = [
        run(seq=n, parent_seq=1, path="/1/", run_id=f"run-{n}") for n in range(2, children_shown_max + 20)
    ]
    child = run(seq=900, parent_seq=many[-1].seq, path=f"/1/{many[-1].seq}/")
    [top] = tree([root, *many, child], child)
    assert top.run is root
    assert len(top.children) == children_shown_max + 1
    assert top.hidden == len(many) - len(top.children)
    assert top.children[-1].children[0].run is child


def test_a_family_without_its_root_has_several_trees():
    assert [node.run.seq for node in tree([run(seq=5, parent_seq=4, path="/4/")], run(seq=5))] == [5]
