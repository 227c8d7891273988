"""Cutting a file into jobs is a partition of its lines."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fleet.batch_file import pack, splice
from fleet.manifest import layout_of, starts

LINES = st.lists(
    st.text(min_size=0, max_size=40).map(lambda text: json.dumps(text).encode()), max_size=60
)


@given(lines=LINES, count=st.integers(1, 10), max_bytes=st.integers(15, 300))
def test_every_line_is_in_one_body_and_the_order_is_kept(
    lines: list[bytes], count: int, max_bytes: int
) -> None:
    groups = list(pack(lines, count=count, max_bytes=max_bytes))
    assert [line for group in groups for line in group] == lines
    assert [text for group in groups for text in json.loads(splice(group))["requests"]] == list(
        map(json.loads, lines)
    )


@given(lines=LINES, count=st.integers(1, 10), max_bytes=st.integers(15, 300))
def test_no_body_is_over_a_limit_unless_one_line_alone_is(
    lines: list[bytes], count: int, max_bytes: int
) -> None:
    for group in pack(lines, count=count, max_bytes=max_bytes):
        assert 1 <= len(group) <= count
        assert len(splice(group)) <= max_bytes or len(group) == 1


@given(lines=LINES, count=st.integers(1, 10), max_bytes=st.integers(15, 300))
def test_no_two_neighbouring_bodies_would_fit_into_one(
    lines: list[bytes], count: int, max_bytes: int
) -> None:
    groups = list(pack(lines, count=count, max_bytes=max_bytes))
    for left, right in pairwise(groups):
        grown = [*left, right[0]]
        assert len(grown) > count or len(splice(grown)) > max_bytes


@given(sizes=st.lists(st.integers(1, 5), max_size=50))
def test_a_layout_remembers_where_each_job_starts(sizes: list[int]) -> None:
    begins = starts(layout_of(sizes))
    assert begins[-1] == sum(sizes)
    assert [right - left for left, right in pairwise(begins)] == sizes
