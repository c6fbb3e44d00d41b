"""A program that trains nothing: it counts on from its checkpoint, writes others, and ends when it is asked to."""

import json
import signal
import sys
import time
from pathlib import Path


def main(work: Path) -> None:
    before = work / "resume" / "count"
    count = int(before.read_text()) if before.is_file() else 0
    last = int(json.loads((work / "recipe.json").read_text())["count"])

    def checkpoint() -> None:
        part = work / "checkpoints" / f".step-{count}.part"
        part.mkdir(parents=True, exist_ok=True)
        (part / "count").write_text(str(count))
        part.rename(part.with_name(f"step-{count}"))

    def end(*_: object) -> None:
        checkpoint()
        sys.exit(143)

    while count < last:
        count += 1
        print(json.dumps({"event": "metric", "name": "count", "step": count, "value": count, "unit": ""}), flush=True)
        if count == 2:
            checkpoint()
        signal.signal(signal.SIGTERM, end)
        if count == 5 and last > 100:
            time.sleep(60)
    (work / "output").mkdir()
    (work / "output" / "count").write_text(str(count))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
