"""Numbers that no fleet has are in no message that is believed."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from msgspec.inspect import FloatType, IntType, StructType, UnionType, type_info

from fleet.cancel import Mark
from fleet.events import AnyEvent, UsageRecorded
from fleet.job import FleetInfo, Tier, TokenDelta
from fleet.manifest import Manifest
from fleet.node import Node

STRUCTS = (*get_args(AnyEvent), Node, FleetInfo, TokenDelta, Manifest, Mark)
# Moments are compared and subtracted, and never added up.
MOMENTS = {"at", "since", "started_at", "leaves_at", "kv_cache", "version"}


def numbers(struct: type[Any]) -> Iterator[tuple[str, IntType | FloatType]]:
    """Name the numbers of a struct that somebody may add up."""
    info = type_info(struct)
    assert isinstance(info, StructType)
    for field in info.fields:
        kinds = field.type.types if isinstance(field.type, UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, (IntType, FloatType)) and field.name not in MOMENTS:
                yield field.name, kind


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_whatever_is_added_up_has_a_bound(struct: type[Any]) -> None:
    assert [name for name, kind in numbers(struct) if kind.le is None or kind.ge is None] == []


@pytest.mark.parametrize("items", [-1, 10**400])
def test_a_count_that_no_float_holds_is_no_event(items: int) -> None:
    event = UsageRecorded(
        at=1.0, node="n", tenant="t", model="m", tier=Tier.BATCH, batch=None, jobs=1, items=items,
        failed_items=0, prompt_tokens=0, completion_tokens=0,
    )  # fmt: skip
    # Our own encoder writes no such number.
    text = msgspec.json.encode(msgspec.structs.replace(event, items=7)).replace(
        b'"items":7', f'"items":{items}'.encode()
    )
    with pytest.raises(msgspec.ValidationError, match=r"items"):
        msgspec.json.decode(text, type=AnyEvent)
