"""`python -m llmops_assets.warm trainer|launcher SOCKET`."""

import sys
from pathlib import Path

from llmops_assets.warm.kits import KITS
from llmops_assets.warm.server import serve

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in KITS:
        sys.exit(f"usage: python -m llmops_assets.warm {'|'.join(KITS)} SOCKET")
    serve(KITS[sys.argv[1]], Path(sys.argv[2]))
