# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: unpack an archive while it arrives."""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import threading
from typing import IO, cast

TAR_OPTIONS = {".tar.gz": "--gzip", ".tgz": "--gzip", ".tar.xz": "--xz", ".tar.zst": "--zstd"}


class ArchiveError(Exception):
    """One line: what is wrong, and what would do. No other URL would help."""


class Unpacker:
    """A tar that unpacks what it is fed into a directory, and what it complains about.

    lock: a file descriptor that tar keeps open, so that the directory stays locked while it writes there.
    """

    def __init__(self, name: str, directory: str, lock: int) -> None:
        self.complaints: collections.deque[str] = collections.deque(maxlen=10)
        self.disk_full = False
        self._parent = os.path.dirname(directory)
        flags = [next(flag for ending, flag in TAR_OPTIONS.items() if name.endswith(ending))]
        flags += ["--no-same-owner", "--no-same-permissions", "--strip-components=1"]
        self._tar = subprocess.Popen(
            ["tar", "--extract", "--file=-", f"--directory={directory}", *flags],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            umask=0o022,
            pass_fds=(lock,),
        )
        self._stdin, self._stderr = cast(IO[bytes], self._tar.stdin), cast(IO[bytes], self._tar.stderr)
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._stderr:
            self.complaints.append(line.decode(errors="replace").strip())
            if b"No space left" in line:
                self.disk_full = True
                self._tar.kill()

    def feed(self, chunk: bytes) -> None:
        """Pass CHUNK on; once tar has given up, drop it. Raises ArchiveError when the disk is full."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(chunk)
        if self.disk_full:
            raise ArchiveError(f"no space left in {self._parent}")

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        """End tar, by force after an error, so that it never writes again."""
        if kind is not None:
            self._tar.kill()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._tar.wait()
        self._listener.join()
        self._stderr.close()
        if kind is None and self.disk_full:
            raise ArchiveError(f"no space left in {self._parent}")

    @property
    def failed(self) -> bool:
        """Whether tar ended with an error."""
        return self._tar.returncode != 0
