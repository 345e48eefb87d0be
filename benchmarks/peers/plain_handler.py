"""A FastAPI handler in FastAPI's own thread pool: `python -m benchmarks.peers.plain_handler REPOSITORY MODEL PORT`."""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response, UploadFile

from benchmarks.loop import Loop


def application(folder: str, name: str) -> FastAPI:
    """POST /restore with the picture as the form's `image`."""
    app, loop = FastAPI(), Loop(Path(folder), name)

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.post("/restore")
    def restore(image: UploadFile, steps: int, seed: int = 0) -> Response:
        return Response(loop.restore([image.file.read()], steps, [seed])[0], media_type="image/png")

    return app


if __name__ == "__main__":
    uvicorn.run(application(*sys.argv[1:3]), port=int(sys.argv[3]), log_level="warning")
