"""Whatever happens to the token stream, the reader sees the answer once and whole."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import JobFailed, JobRejected
from fleet.job import FleetInfo, Response, ResultLine, TokenDelta, WireError
from fleet.live_answer import LiveAnswer, choices

TOKENS = ("The ", "sky ", "is ", "", "blue", ".")
ANSWER = "".join(TOKENS)


def delta(first: int, last: int, *, finish: str | None = None, item: int = 0) -> TokenDelta:
    return TokenDelta(
        item=item,
        offset=first,
        text="".join(TOKENS[first:last]),
        text_offset=len("".join(TOKENS[:first])),
        token_ids=tuple(range(first, last)),
        finish_reason=finish,
    )


def result(text: str, *, item: int = 0) -> ResultLine:
    body = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    return ResultLine(
        id=f"j-{item}",
        custom_id=None,
        response=Response(status_code=200, request_id="r", body=body),
        fleet=FleetInfo(job="j", item=item, items=1, node="n", capacity_type="spot"),
    )


def read(deltas: list[TokenDelta], final: str) -> tuple[str, str]:
    """Return what was live and what the result added."""
    answer = LiveAnswer()
    live = "".join(new.text for each in deltas if (new := answer.feed(each)))
    return live, "".join(new.text for new in answer.rest([result(final)]))


def test_deltas_in_order_pass_unchanged() -> None:
    answer = LiveAnswer()
    sent = [delta(0, 2), delta(2, 5), delta(5, 6, finish="stop")]
    assert [answer.feed(each) for each in sent] == sent
    assert list(answer.rest([result(ANSWER)])) == []


def test_a_repeated_delta_is_dropped() -> None:
    answer = LiveAnswer()
    answer.feed(delta(0, 2))
    assert answer.feed(delta(0, 2)) is None
    assert answer.feed(delta(0, 1)) is None


def test_a_delta_that_begins_earlier_gives_only_what_is_new() -> None:
    answer = LiveAnswer()
    answer.feed(delta(0, 3))
    assert answer.feed(delta(1, 5)) == delta(3, 5)


def test_an_answer_that_is_told_again_from_its_beginning_goes_on_after_a_gap() -> None:
    answer = LiveAnswer()
    answer.feed(delta(0, 2))
    assert answer.feed(delta(4, 5)) is None
    assert answer.feed(delta(0, 6)) == delta(2, 6)


def test_after_a_gap_the_result_brings_the_rest() -> None:
    assert read([delta(0, 2), delta(4, 6)], ANSWER) == ("The sky ", "is blue.")


def test_without_a_token_stream_the_result_brings_everything() -> None:
    assert read([], ANSWER) == ("", ANSWER)


def test_a_repeated_end_is_dropped() -> None:
    answer = LiveAnswer()
    end = msgspec.structs.replace(delta(2, 2, finish="stop"), text="!")
    answer.feed(delta(0, 2))
    assert answer.feed(end) == end
    assert answer.feed(end) is None


def test_items_and_choices_are_joined_apart() -> None:
    answer = LiveAnswer()
    assert answer.feed(delta(0, 2, item=0)) is not None
    assert answer.feed(delta(0, 2, item=1)) is not None


def test_an_answer_that_was_started_again_and_differs_is_said_and_not_mixed() -> None:
    answer = LiveAnswer()
    answer.feed(delta(0, 2))
    other = TokenDelta(item=0, offset=0, text="A sea is wet", token_ids=(9, 8, 7))
    assert answer.feed(other) is None
    assert answer.feed(delta(2, 3)) is None
    with pytest.raises(JobFailed, match="take the result"):
        list(answer.rest([result("A sea is wet.")]))


def test_errors_and_embeddings_have_no_text() -> None:
    info = result("").fleet
    error = ResultLine(id="j-0", custom_id=None, error=WireError("c", "m"), fleet=info)
    body = {"object": "list", "data": [{"embedding": [1.0]}]}
    response = Response(status_code=200, request_id="r", body=body)
    embedding = ResultLine(id="j-0", custom_id=None, response=response, fleet=info)
    assert choices(error) == choices(embedding) == ()


def test_a_result_in_a_strange_shape_is_rejected_by_name() -> None:
    response = Response(status_code=200, request_id="r", body={"choices": 3})
    strange = ResultLine(id="j-0", custom_id=None, response=response, fleet=result("").fleet)
    with pytest.raises(JobRejected, match="j-0"):
        choices(strange)


@given(cuts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_any_pieces_in_any_order_give_the_answer_once(cuts: list[tuple[int, int]]) -> None:
    pieces = [delta(min(cut), max(cut)) for cut in cuts]
    live, rest = read(pieces, ANSWER)
    assert live + rest == ANSWER
