"""Restores a clip in a process of its own, for tests that kill it: SOURCE TARGET SECONDS-A-FRAME. Prints frames and resumed."""

import asyncio
import json
import sys
from pathlib import Path

from tests.service.video.fakes import IdentitySampler, restorer_of, work_on

if __name__ == "__main__":
    source, target, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    work = work_on(source, target, "motion", ("image", "context"))
    result = asyncio.run(restorer_of(IdentitySampler(seconds)).restore(work))
    print(json.dumps({"frames": result.frames, "resumed": result.resumed}))
