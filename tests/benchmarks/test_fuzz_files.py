"""The fuzzing of files: mutations are repeatable and varied, and a short run harms nobody."""

import random
from argparse import Namespace
from pathlib import Path

from benchmarks.fuzz_files import fuzz, mutated, seeds
from service.pictures.formats import sniff


def test_the_seeds_are_of_every_format_that_is_written() -> None:
    assert {sniff(data).name for data in seeds()} == {"png", "jpeg", "webp", "avif", "tiff", "jxl"}


def test_mutations_are_repeatable_and_change_most_files() -> None:
    data = seeds()[0]
    first, again = ([mutated(data, data, random.Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == again
    assert sum(changed != data for changed in first) > 45


async def test_a_short_run_harms_no_process(tmp_path: Path) -> None:
    report = await fuzz(Namespace(pictures=[], seed=3, failures=tmp_path / "failures", minutes=2, files=120))
    assert (report["files"], report["failures"], report["good_reads_between"]) == (120, [], 1)
    assert 0 < report["most_memory_mib"] < 2048
