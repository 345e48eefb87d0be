"""A folder of whole segments outlives the run that wrote it."""

from pathlib import Path

import numpy as np

from service.video.segments import WorkFolder, digest_of

IDENTITY = {"clip": "ab", "model": "lowlight", "steps": 2}


def write(folder: WorkFolder, data: bytes, times: list[tuple[int, int]], last: int | None = None) -> None:
    folder.open_next().write_bytes(data)
    folder.commit(times, {} if last is None else {"pixels": np.full((2, 2, 3), last, np.uint8)})


def test_a_second_run_goes_on_after_the_last_whole_segment(tmp_path: Path) -> None:
    first = WorkFolder(tmp_path / "clip", IDENTITY)
    write(first, b"one", [(0, 10), (10, 10)], 7)
    write(first, b"two", [(20, 10)], 8)
    first.open_next().write_bytes(b"half")
    second = WorkFolder(tmp_path / "clip", IDENTITY)
    assert [segment.path.read_bytes() for segment in second.segments] == [b"one", b"two"]
    assert (second.frames, second.times) == (3, [(0, 10), (10, 10), (20, 10)])
    assert (second.state()["pixels"] == 8).all()
    assert sorted(path.name for path in second.path.iterdir()) == [
        *("00000.json", "00000.mp4", "00001.json", "00001.mp4", "clip.json", "state-00001.npz")
    ]


def test_what_another_clip_left_is_thrown_away(tmp_path: Path) -> None:
    write(WorkFolder(tmp_path / "clip", IDENTITY), b"one", [(0, 10)])
    other = WorkFolder(tmp_path / "clip", {**IDENTITY, "steps": 3})
    assert (other.segments, other.frames, other.state()) == ([], 0, {})


def test_a_segment_without_its_facts_does_not_count(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "clip", IDENTITY)
    write(folder, b"one", [(0, 10)])
    write(folder, b"two", [(10, 10)])
    (folder.path / "00001.json").unlink()
    assert [segment.number for segment in WorkFolder(tmp_path / "clip", IDENTITY).segments] == [0]


def test_a_segment_is_written_under_a_new_name_each_time_and_the_folder_can_go(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "clip", IDENTITY)
    assert folder.open_next() != folder.open_next()
    folder.remove()
    assert not folder.path.exists()


def test_a_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert digest_of(tmp_path / "empty").startswith("e3b0c44298fc1c14")
