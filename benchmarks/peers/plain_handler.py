"""A FastAPI handler in FastAPI's own thread pool: `python -m benchmarks.peers.plain_handler REPOSITORY MODEL THREADS`."""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response, UploadFile

from benchmarks.loop import Loop
from benchmarks.peers import listening


def application(folder: str, name: str, threads: int) -> FastAPI:
    """POST /restore with the picture as the form's `image`. threads: of each call of the network."""
    app, loop = FastAPI(), Loop(Path(folder), name, threads)

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.post("/restore")
    def restore(image: UploadFile, steps: int, seed: int = 0) -> Response:
        return Response(loop.restore([image.file.read()], steps, [seed])[0], media_type="image/png")

    return app


if __name__ == "__main__":
    folder, name, threads = sys.argv[1:]
    server = uvicorn.Server(uvicorn.Config(application(folder, name, int(threads)), log_level="warning"))
    server.run([listening()])
