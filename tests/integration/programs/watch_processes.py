"""Note every process that is seen on this machine until the standard input ends; print [[user, command line], …]."""

from __future__ import annotations

import json
import pwd
import select
import sys
from pathlib import Path

seen = set()
while not select.select([sys.stdin], [], [], 0.1)[0]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
            seen.add((pwd.getpwuid(process.stat().st_uid).pw_name, command))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended meanwhile.
print(json.dumps(sorted(seen)))
