"""The files of a batch are there whole, both of them, or not at all."""

import os
from pathlib import Path

import pytest

from fleet.batch_output import files_of, writing
from fleet.job import FleetInfo, ResultLine, WireError

LINE = ResultLine(
    id="j-0", custom_id="a", error=WireError("expired", "too late"),
    fleet=FleetInfo(job="j", item=0, items=1, node="n", capacity_type=None),
)  # fmt: skip


def test_both_files_appear_at_the_end(tmp_path: Path) -> None:
    files = files_of("b", tmp_path)
    with writing(files) as writer:
        writer.add(LINE)
        assert not files.errors.exists()
    assert files.output.read_bytes() == b""
    assert files.errors.read_bytes().count(b"\n") == 1
    assert set(tmp_path.iterdir()) == {files.output, files.errors}


@pytest.mark.parametrize("full_at", [1, 2])
def test_a_full_disk_leaves_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: int
) -> None:
    synced = 0

    def fsync(_: int) -> None:
        nonlocal synced
        synced += 1
        if synced == full_at:
            raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="no space"), writing(files_of("b", tmp_path)) as writer:
        writer.add(LINE)
    assert list(tmp_path.iterdir()) == []
