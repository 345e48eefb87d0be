"""Restore every picture of a folder, several at a time, with the asynchronous client.

    python examples/folder.py photos restored [--server http://127.0.0.1:8000] [--at-once 4]

A full queue is no error here: the client waits as long as the server's Retry-After says, and asks again.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from service.client import AsyncClient, ClientError

KINDS = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff"}


async def restore_one(client: AsyncClient, free: asyncio.Semaphore, source: Path, target: Path) -> bool:
    async with free:
        try:
            restored = await client.restore(source)
            await asyncio.to_thread(target.write_bytes, restored.image)
        except (ClientError, OSError) as error:
            print(f"{source}: {error}", file=sys.stderr)
            return False
    print(f"{target}  {restored.steps} steps")
    return True


async def restore_all(pictures: list[Path], target: Path, server: str, at_once: int) -> bool:
    free = asyncio.Semaphore(at_once)
    async with AsyncClient(server, api_key=os.environ.get("RDDM_API_KEY")) as client:
        done = await asyncio.gather(*(restore_one(client, free, path, target / path.name) for path in pictures))
    print(f"{sum(done)} of {len(pictures)} pictures")
    return all(done)


def main() -> int:
    parser = argparse.ArgumentParser(description="Restore every picture of a folder.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--at-once", type=int, default=4)
    arguments = parser.parse_args()
    try:
        pictures = sorted(path for path in arguments.source.iterdir() if path.suffix.lower() in KINDS and path.is_file())
        arguments.target.mkdir(parents=True, exist_ok=True)
        return 0 if asyncio.run(restore_all(pictures, arguments.target, arguments.server, arguments.at_once)) else 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
