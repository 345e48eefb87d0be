"""Restores a clip in a process of its own, for tests that kill it: SOURCE TARGET SECONDS-A-FRAME."""

import asyncio
import sys
from pathlib import Path

from service.video.restoration import ClipWork
from tests.service.video.fakes import IdentitySampler, restorer_of, work_on


def calmed(source: Path, target: Path) -> ClipWork:
    """What is done to the clip: frames are blended along the motion, and see a context."""
    return work_on(source, target, "motion", ("image", "context"))


if __name__ == "__main__":
    work = calmed(Path(sys.argv[1]), Path(sys.argv[2]))
    asyncio.run(restorer_of(IdentitySampler(float(sys.argv[3]))).restore(work))
