"""`python -m serving_api.openapi` writes the API's description to openapi.json; with `--check` it compares."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from llmops_resources import database
from llmops_resources.platform import Platform, open_blobs_of
from llmops_resources.settings import Settings
from serving_api.app import create_api
from serving_api.chat.app import ChatGateway
from serving_api.dagster_proxy import DagsterProxy

FILE = Path(__file__).with_name("openapi.json")


def description() -> dict[str, Any]:
    """The OpenAPI document, built without touching a database or the network."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(llmops_home=Path(folder), secret_key="0" * 32, _env_file=None)
        engine = database.connect("postgresql://nobody@127.0.0.1:1/none")
        platform = Platform(settings=settings, engine=engine, blobs=open_blobs_of(settings))
        return create_api(platform, ChatGateway(platform), DagsterProxy(platform)).openapi()


def rendered() -> bytes:
    """The document as it is checked in."""
    return orjson.dumps(description(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def main() -> int:
    """Write the file; with `--check`, only say whether it is fresh (exit status 1 when it is not)."""
    if "--check" in sys.argv:
        return 0 if FILE.exists() and FILE.read_bytes() == rendered() else 1
    FILE.write_bytes(rendered())
    return 0


if __name__ == "__main__":
    sys.exit(main())
