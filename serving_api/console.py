"""The built console: files as they are, and its first page for every other address."""

from pathlib import Path

from fastapi import Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_MISSING = (
    "The console has not been built. Run `make console`, or use the API: its description is at /openapi.json.\n"
)


class Console(StaticFiles):
    """Serves `dist`; client-side routes get index.html, unknown assets a 404. Hashed assets may be cached for ever."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(directory=folder, check_dir=False)

    async def check_config(self) -> None:
        """Nothing: without a folder every answer says how to build it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        return await run_in_threadpool(self._response, path, scope["method"])

    def _response(self, path: str, method: str) -> Response:
        index = self.folder / "index.html"
        if not index.is_file():
            return PlainTextResponse(_MISSING, status_code=503)
        full, found = self.lookup_path(path)
        if found is not None and full and Path(full).is_file():
            response = FileResponse(full)
            if path.startswith("assets/"):
                response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            return response
        if path.startswith("assets/") or method not in {"GET", "HEAD"}:
            return PlainTextResponse("not found", status_code=404)
        return FileResponse(index, headers={"Cache-Control": "no-cache"})
