"""A program that says what no log should show or choke on, and then fails: `python -m … FOLDER`."""

import os
import sys

sys.stderr.write(f"calling with {os.environ['JOB_TOKEN']}\n")
sys.stderr.flush()
sys.stderr.buffer.write(b"bytes that are \xff no text\n")
sys.stderr.write("x" * 200_000 + "\n\n")
sys.stderr.write("Authorization: Bearer abcdefghijklmnop\n")
sys.stderr.write("RuntimeError: the end\n")
sys.exit(1)
