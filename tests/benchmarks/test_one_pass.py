"""The one-pass benchmark at toy size: from a network's file to served bytes, and figures of each kind."""

from benchmarks.one_pass import run


def test_a_small_network_is_served_with_its_own_bytes_and_without_a_seam() -> None:
    found = run(side=64, large=576, rounds=1, layers=3, width=8)
    assert found["pixels_that_differ_whole"] == 0
    assert found["levels_tiled_against_whole"] <= 1
    assert 0.999 < found["seam"]["border"] < 1.001
    assert min(found["served_ms"], found["bare_ms"]) > 0
