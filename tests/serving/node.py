"""TypeScript for tests: compiled strictly by the console's compiler, run by Node."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TSC = ROOT / "ui_extensions/node_modules/typescript/bin/tsc"
SOURCES = ROOT / "tests/serving/typescript"
PACKAGES = SOURCES / "node_modules"  # OpenAI's client, by the lock beside it


def node() -> str | None:
    """The Node of this machine, or the one in the environment."""
    return shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))


def can_compile() -> bool:
    """Whether there is a Node, and the packages of the console and of these tests are installed."""
    return node() is not None and TSC.exists() and (PACKAGES / "openai").exists()


def compiled(folder: Path, **more: str) -> Path:
    """The examples, the tests' own programs and `more` (texts by name), compiled; the folder of the JavaScript.

    Fails the test with the compiler's words where a type is wrong.
    """
    for source in [*(ROOT / "examples").glob("*.ts"), *SOURCES.glob("*.ts")]:
        shutil.copy(source, folder)
    shutil.copy(ROOT / "ui_extensions/src/api/schema.d.ts", folder)
    for name, text in more.items():
        (folder / f"{name}.ts").write_text(text)
    config = json.loads((ROOT / "examples/tsconfig.json").read_text())
    config["compilerOptions"] |= {"noEmit": False, "outDir": "out", "skipLibCheck": True}
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "tsconfig.json").write_text(json.dumps(config))
    done = run([str(TSC), "-p", str(folder)], folder)
    assert done.returncode == 0, done.stdout
    (folder / "out/package.json").write_text('{"type": "module"}')
    return folder / "out"


def run(arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Node with these arguments, without our environment."""
    found = node()
    assert found is not None
    return subprocess.run(
        [found, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=150,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
