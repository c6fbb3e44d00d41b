"""The download program: `python -m llmops_assets.catalog.download <folder>`, a repository of the Hugging Face Hub.

It reads `origin.json` (repository, revision, the most bytes), writes the chosen files into `source/` and, when it is
complete, `resolved.json`: the commit, what was left out, and the SHA-256 of the files for which the Hub names one.
Code and pickles are not fetched. Exit status 2 blames the request.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from tqdm import tqdm  # type: ignore[import-untyped]

from llmops_resources.catalog.airlock.names import Role, role_of
from llmops_resources.catalog.airlock.selection import select
from llmops_resources.errors import Forbidden, InvalidInput, NotFound, PlatformError, TooLarge, UpstreamFailed

TIMEOUT: Final = 30.0
_INPUT_AT_FAULT: Final = 2


def download(folder: Path) -> None:
    """Fetch the chosen files of the pinned commit. Raises a PlatformError that says what to do."""
    asked = json.loads((folder / "origin.json").read_bytes())
    repository, revision = asked["repository"], asked["revision"]
    info = _look(repository, revision)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    chosen, left_out = select(sizes)
    if not any(role_of(path) is Role.WEIGHTS for path in chosen):
        raise InvalidInput(
            f"{repository} has no safetensors",
            remedy="Choose a repository with safetensors; or download its .bin files and upload them to be converted.",
        )
    total = sum(sizes[path] for path in chosen)
    if total > asked["max_bytes"]:
        raise TooLarge(
            f"{repository} has {total:,} bytes; at most {asked['max_bytes']:,} are imported",
            remedy="Choose a smaller model, or raise MAX_UPLOAD_BYTES.",
        )
    _Progress.whole = max(total, 1)
    for path in chosen:
        _Progress.file = path
        try:
            hf_hub_download(
                repository, path, revision=info.sha, local_dir=folder / "source", tqdm_class=_Progress
            )
        except (HfHubHTTPError, OSError) as error:
            raise UpstreamFailed(f"{path} could not be fetched: {_first_line(error)}", remedy="Try again.") from error
    resolved = {
        "commit": info.sha,
        "files": chosen,
        "left_out": left_out,
        "sha256": {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs is not None},
    }
    (folder / "resolved.json").write_text(json.dumps(resolved))


def _look(repository: str, revision: str) -> Any:
    try:
        return HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except GatedRepoError as error:
        remedy = "Accept its terms on the Hub, and set HF_TOKEN to a token of that account."
        raise Forbidden(f"{repository} is gated", remedy=remedy) from error
    except RepositoryNotFoundError as error:
        remedy = "Check organisation and name; a private repository needs HF_TOKEN."
        raise NotFound(f"the Hub has no repository {repository}", remedy=remedy) from error
    except RevisionNotFoundError as error:
        remedy = "Name a branch, a tag or a commit that it has."
        raise NotFound(f"{repository} has no revision {revision}", remedy=remedy) from error
    except (HfHubHTTPError, OSError) as error:
        remedy = "Check this machine's way to the Hub (HF_ENDPOINT, proxies), then try again."
        raise UpstreamFailed(f"the Hub did not answer: {_first_line(error)}", remedy=remedy) from error


class _Progress(tqdm):  # type: ignore[misc]
    """The Hub client's progress bar, as events: bytes of all files so far, at most twice a second."""

    whole = 1
    done = 0
    file = ""
    said = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        options.pop("name", None)
        super().__init__(*args, **{**options, "disable": True})

    def update(self, n: float | None = 1) -> bool | None:
        """Count, and say so."""
        _Progress.done += int(n or 0)
        if time.monotonic() - _Progress.said > 0.5:
            _Progress.said = time.monotonic()
            fraction = min(_Progress.done / _Progress.whole, 1.0)
            message = f"fetching {_Progress.file}"
            print(json.dumps({"event": "progress", "fraction": fraction, "message": message}), flush=True)
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n", 1)[0] or type(error).__name__)[:300]


def main() -> int:
    """Download what the folder of the command line asks for."""
    try:
        download(Path(sys.argv[1]).resolve())
    except UpstreamFailed as error:
        print(error.told, file=sys.stderr)
        return 1
    except PlatformError as error:
        print(error.told, file=sys.stderr)
        return _INPUT_AT_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
