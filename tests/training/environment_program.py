"""A program that tells, as JSON, the environment it sees and the one that its own children see."""

import json
import os
import subprocess

if __name__ == "__main__":
    children = subprocess.run(["/usr/bin/env", "-0"], capture_output=True, text=True, check=True).stdout
    inherited = dict(line.split("=", 1) for line in children.split("\0") if line)
    print(json.dumps({"own": dict(os.environ), "children": inherited}), flush=True)
