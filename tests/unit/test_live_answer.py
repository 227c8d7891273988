"""Whatever happens to the token stream, the reader sees the answer once and whole."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import JobFailed, JobRejected, UsageError
from fleet.job import FleetInfo, Response, ResultLine, TokenDelta, WireError
from fleet.live_answer import LiveAnswer, choices

TOKENS = ("The ", "sky ", "is ", "", "blue", ".")
ANSWER = "".join(TOKENS)
OTHER = TokenDelta(item=0, offset=0, text="A sea is wet", token_ids=(9, 8, 7))


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


def fed(answer: LiveAnswer, *deltas: TokenDelta) -> list[TokenDelta]:
    """Return what goes on of these deltas."""
    news: list[TokenDelta] = []
    for each in deltas:
        answer.take(each)
        news += answer.news()
    return news


def settled(answer: LiveAnswer, *lines: ResultLine) -> list[TokenDelta]:
    """Return what the result adds."""
    answer.settle(lines)
    news = list(answer.news())
    answer.check()
    return news


def read(deltas: list[TokenDelta], final: str) -> tuple[str, str]:
    """Return what was live and what the result added."""
    answer = LiveAnswer()
    live = "".join(new.text for new in fed(answer, *deltas))
    return live, "".join(new.text for new in settled(answer, result(final)))


def test_deltas_in_order_pass_unchanged() -> None:
    answer = LiveAnswer()
    sent = [delta(0, 2), delta(2, 5), delta(5, 6, finish="stop")]
    assert fed(answer, *sent) == sent
    assert settled(answer, result(ANSWER)) == []


def test_a_repeated_delta_is_dropped() -> None:
    assert fed(LiveAnswer(), delta(0, 2), delta(0, 2), delta(0, 1)) == [delta(0, 2)]


def test_a_delta_that_begins_earlier_gives_only_what_is_new() -> None:
    assert fed(LiveAnswer(), delta(0, 3), delta(1, 5)) == [delta(0, 3), delta(3, 5)]


def test_an_answer_that_is_told_again_from_its_beginning_goes_on_after_a_gap() -> None:
    assert fed(LiveAnswer(), delta(0, 2), delta(4, 5), delta(0, 6)) == [delta(0, 2), delta(2, 6)]


def test_after_a_gap_the_result_brings_the_rest() -> None:
    assert read([delta(0, 2), delta(4, 6)], ANSWER) == ("The sky ", "is blue.")


def test_without_a_token_stream_the_result_brings_everything() -> None:
    assert read([], ANSWER) == ("", ANSWER)


def test_a_repeated_end_is_dropped() -> None:
    end = msgspec.structs.replace(delta(2, 2, finish="stop"), text="!")
    assert fed(LiveAnswer(), delta(0, 2), end, end) == [delta(0, 2), end]


def test_items_and_choices_are_joined_apart() -> None:
    sent = [delta(0, 2, item=0), delta(0, 2, item=1)]
    assert fed(LiveAnswer(), *sent) == sent


def test_what_was_told_before_anybody_read_goes_on_as_one() -> None:
    answer = LiveAnswer()
    for each in (delta(0, 2), delta(2, 3), delta(0, 5)):
        answer.take(each)
    assert list(answer.news()) == [delta(0, 5)]


def test_an_answer_that_is_begun_again_and_equal_is_only_a_pause() -> None:
    assert fed(LiveAnswer(), delta(0, 4), delta(0, 1), delta(1, 4), delta(4, 6)) == [
        delta(0, 4),
        delta(4, 6),
    ]


def test_an_answer_that_is_begun_again_and_differs_is_said_at_once() -> None:
    answer = LiveAnswer()
    fed(answer, delta(0, 2))
    answer.take(delta(0, 1))
    with pytest.raises(JobFailed, match="from its beginning") as failed:
        answer.take(OTHER)
    assert failed.value.code == "answer_restarted"


def test_an_answer_that_is_begun_again_and_ends_earlier_is_said() -> None:
    answer = LiveAnswer()
    fed(answer, delta(0, 4))
    with pytest.raises(JobFailed):
        answer.take(delta(0, 2, finish="stop"))


def test_who_comes_after_the_new_beginning_sees_the_new_answer_alone() -> None:
    answer = LiveAnswer()
    answer.take(delta(0, 4))
    assert fed(answer, OTHER) == [OTHER]
    assert [new.text for new in settled(answer, result(OTHER.text + "."))] == ["."]


def test_who_comes_after_a_change_of_owners_waits_for_the_new_ones_word() -> None:
    answer = LiveAnswer()
    answer.owner = "old"
    for each in (delta(0, 2), delta(0, 3, item=1), delta(0, 6, item=2, finish="stop")):
        answer.take(each)
    answer.owner = "new"
    assert [new.item for new in answer.news()] == [2], "an end is an end"
    assert fed(answer, delta(2, 4)) == [delta(0, 4)]
    assert fed(answer, msgspec.structs.replace(OTHER, item=1)) == [
        msgspec.structs.replace(OTHER, item=1)
    ]


def test_who_was_there_before_a_change_of_owners_waits_for_nothing() -> None:
    answer = LiveAnswer()
    answer.owner = "old"
    assert fed(answer, delta(0, 2)) == [delta(0, 2)]
    answer.owner = "new"
    assert fed(answer, delta(2, 4)) == [delta(2, 4)]


def test_the_result_brings_what_nobody_was_certain_of() -> None:
    answer = LiveAnswer()
    answer.owner = "old"
    answer.take(delta(0, 4))
    answer.owner = "new"
    assert list(answer.news()) == []
    assert "".join(new.text for new in settled(answer, result(ANSWER))) == ANSWER


def test_a_result_that_differs_from_what_was_read_is_said_at_the_end() -> None:
    answer = LiveAnswer()
    fed(answer, delta(0, 2))
    with pytest.raises(JobFailed, match="from its beginning"):
        settled(answer, result("A sea is wet."))


def test_a_result_counts_more_than_deltas_that_nobody_read() -> None:
    answer = LiveAnswer()
    answer.take(delta(0, 4))
    (whole,) = settled(answer, result("A sea is wet."))
    assert (whole.text, whole.token_ids, whole.offset) == ("A sea is wet.", (), 0)


@pytest.mark.parametrize("begin", range(len(ANSWER) + 1))
def test_who_comes_back_gets_the_rest(begin: int) -> None:
    answer = LiveAnswer(begin=begin)
    live = fed(answer, delta(0, 2), delta(2, 4), delta(4, 6, finish="stop"))
    assert "".join(new.text for new in live) == ANSWER[begin:]
    assert live[0].text_offset == begin
    assert live[-1].finish_reason == "stop"
    assert settled(answer, result(ANSWER)) == []
    assert [new.text for new in settled(LiveAnswer(begin=begin), result(ANSWER))] == [
        ANSWER[begin:]
    ]


def test_who_comes_back_is_told_no_token_twice() -> None:
    live = fed(LiveAnswer(begin=len("The sky ")), delta(0, 2), delta(2, 6))
    assert live == [delta(2, 6)]


def test_who_comes_back_to_an_answer_that_was_begun_again_is_told() -> None:
    answer = LiveAnswer(begin=5)
    answer.take(delta(0, 2))
    with pytest.raises(JobFailed):
        answer.take(OTHER)


def test_an_offset_behind_the_end_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=f"has {len(ANSWER)} characters"):
        settled(LiveAnswer(begin=len(ANSWER) + 1), result(ANSWER))


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
