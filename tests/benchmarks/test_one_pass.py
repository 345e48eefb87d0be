"""The one-pass benchmark at toy size: from a network's file to served bytes, and figures of each kind."""

from benchmarks.one_pass import run


def test_a_small_network_is_served_with_its_own_bytes_and_without_a_seam() -> None:
    actual = run(side=64, large=576, rounds=1, layers=3, width=8)
    assert actual["pixels_that_differ_whole"] == 0
    assert actual["levels_tiled_against_whole"] <= 1
    assert 0.999 < actual["seam"]["border"] < 1.001
    assert min(actual["served_ms"], actual["bare_ms"]) > 0
