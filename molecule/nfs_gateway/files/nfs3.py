"""A client of NFS version 3 that needs no kernel: RFC 1813 over TCP, as the user who runs it.

Usage: nfs3.py HOST ls|cat|put|append|patch|rm|rmdir|mkdir|mv|chmod|stat PATH [PATH|MODE|OFFSET]

`put` and `append` take standard input; `patch` writes it at an offset of a file that is there. `stat` prints mode,
user, group and size. An error of the server's is one line, with its number in RFC 1813.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator

PORTMAP, NFS, MOUNT = 100000, 100003, 100005
GETATTR, SETATTR, LOOKUP, READ, WRITE, CREATE, MKDIR, REMOVE, RMDIR, RENAME, READDIR, COMMIT = (
    1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 16, 21,
)  # fmt: skip
# Bytes asked for at a time; the gateway takes up to a MiB.
CHUNK = int(os.environ.get("NFS3_CHUNK", "65536"))
# Without mode, owner, size and times; with a mode alone.
NOTHING = struct.pack(">6I", 0, 0, 0, 0, 0, 0)


class RefusedError(Exception):
    """The server's error number."""


def opaque(data: bytes) -> bytes:
    """Return data as XDR has it."""
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


def text(name: str) -> bytes:
    """Return a name as XDR has it."""
    return opaque(name.encode())


def mode_only(mode: int) -> bytes:
    """Return the attributes of a file of which nothing but the mode is given."""
    return struct.pack(">2I", 1, mode) + NOTHING[4:]


class Answer:
    """What is left to read of an answer."""

    def __init__(self, data: bytes) -> None:
        """Begin at its start."""
        self.data = data

    def take(self, layout: str) -> tuple[int, ...]:
        """Return the next numbers."""
        size = struct.calcsize(f">{layout}")
        found, self.data = struct.unpack(f">{layout}", self.data[:size]), self.data[size:]
        return found

    def opaque(self) -> bytes:
        """Return the next bytes."""
        (size,) = self.take("I")
        found, self.data = self.data[:size], self.data[size + (-size % 4) :]
        return found

    def attributes(self) -> tuple[int, ...]:
        """Return mode, user, group and size, of attributes that are there."""
        _kind, mode, _links, user, group, size = self.take("5IQ")
        self.data = self.data[84 - 28 :]
        return mode, user, group, size

    def skip_attributes(self) -> None:
        """Pass over attributes that may be there."""
        if self.take("I")[0]:
            self.attributes()


class Program:
    """A connection to one program of a server."""

    def __init__(self, host: str, port: int, number: int, version: int) -> None:
        """Connect."""
        self.socket = socket.create_connection((host, port), 60)
        self.number, self.version = number, version
        # The gateway answers a number that it knows of this address with what it answered then.
        self.calls = int.from_bytes(os.urandom(3), "big") << 7

    def call(self, procedure: int, arguments: bytes) -> Answer:
        """Return the answer to a call of the user who runs this."""
        self.calls += 1
        who = struct.pack(">I", 0) + text("molecule") + struct.pack(">3I", os.getuid(), os.getgid(), 0)
        head = struct.pack(">6I", self.calls, 0, 2, self.number, self.version, procedure)
        message = head + struct.pack(">I", 1) + opaque(who) + struct.pack(">2I", 0, 0) + arguments
        self.socket.sendall(struct.pack(">I", 1 << 31 | len(message)) + message)
        answer = Answer(b"".join(self._fragments()))
        _call, _reply, denied, _flavour, _size, state = answer.take("6I")
        if denied or state:
            raise RefusedError(f"the call itself, {denied} {state}")
        return answer

    def done(self, procedure: int, arguments: bytes) -> Answer:
        """Return the answer to a call that went well."""
        answer = self.call(procedure, arguments)
        if status := answer.take("I")[0]:
            raise RefusedError(str(status))
        return answer

    def _fragments(self) -> Iterator[bytes]:
        last = 0
        while not last:
            (head,) = struct.unpack(">I", self._bytes(4))
            last = head >> 31
            yield self._bytes(head & 0x7FFFFFFF)

    def _bytes(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            if not more:
                raise ConnectionError("the server has closed the connection")
            found += more
        return found


class Export:
    """The root of a server."""

    def __init__(self, host: str) -> None:
        """Ask the port mapper, then mount."""
        ports = Program(host, 111, PORTMAP, 2)
        mount, nfs = (ports.call(3, struct.pack(">4I", number, 3, 6, 0)).take("I")[0] for number in (MOUNT, NFS))
        self.root = Program(host, mount, MOUNT, 3).done(1, text("/")).opaque()
        self.nfs = Program(host, nfs, NFS, 3)

    def find(self, path: str) -> bytes:
        """Return the handle of a path."""
        handle = self.root
        for name in filter(None, path.split("/")):
            handle = self.nfs.done(LOOKUP, opaque(handle) + text(name)).opaque()
        return handle

    def place(self, path: str) -> bytes:
        """Return what names a path: the handle of its directory, and its name."""
        folder, _slash, name = path.rpartition("/")
        return opaque(self.find(folder)) + text(name)

    def stat(self, path: str) -> tuple[int, ...]:
        """Return mode, user, group and size."""
        return self.nfs.done(GETATTR, opaque(self.find(path))).attributes()

    def names(self, path: str) -> Iterator[str]:
        """Yield what a directory holds."""
        handle, cookie, verifier, end = self.find(path), 0, b"\0" * 8, False
        while not end:
            answer = self.nfs.done(READDIR, opaque(handle) + struct.pack(">Q", cookie) + verifier + b"\0\0\x20\0")
            answer.skip_attributes()
            verifier = struct.pack(">Q", *answer.take("Q"))
            while answer.take("I")[0]:
                answer.take("Q")
                yield answer.opaque().decode()
                (cookie,) = answer.take("Q")
            end = bool(answer.take("I")[0])

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        handle, offset, end = self.find(path), 0, 0
        while not end:
            answer = self.nfs.done(READ, opaque(handle) + struct.pack(">QI", offset, CHUNK))
            answer.skip_attributes()
            count, end = answer.take("2I")
            yield answer.opaque()
            offset += count

    def create(self, path: str) -> bytes:
        """Make a file and return its handle."""
        answer = self.nfs.done(CREATE, self.place(path) + struct.pack(">I", 0) + mode_only(0o644))
        answer.take("I")
        return answer.opaque()

    def write(self, handle: bytes, offset: int) -> None:
        """Write standard input, then have all of it stored."""
        while data := sys.stdin.buffer.read(CHUNK):
            self.nfs.done(WRITE, opaque(handle) + struct.pack(">Q2I", offset, len(data), 0) + opaque(data))
            offset += len(data)
        self.nfs.done(COMMIT, opaque(handle) + struct.pack(">QI", 0, 0))


def main() -> None:
    """Do what the command line says."""
    host, command, path, *more = sys.argv[1:]
    export = Export(host)
    if command == "ls":
        print("\n".join(export.names(path)))
    elif command == "cat":
        sys.stdout.buffer.writelines(export.read(path))
    elif command == "stat":
        mode, *numbers = export.stat(path)
        print(oct(mode & 0o7777)[2:], *numbers)
    elif command == "put":
        export.write(export.create(path), 0)
    elif command in ("append", "patch"):
        export.write(export.find(path), export.stat(path)[3] if command == "append" else int(more[0]))
    elif command == "chmod":
        export.nfs.done(SETATTR, opaque(export.find(path)) + mode_only(int(more[0], 8)) + struct.pack(">I", 0))
    elif command == "mkdir":
        export.nfs.done(MKDIR, export.place(path) + mode_only(0o755))
    elif command == "mv":
        export.nfs.done(RENAME, export.place(path) + export.place(more[0]))
    else:
        export.nfs.done({"rm": REMOVE, "rmdir": RMDIR}[command], export.place(path))


if __name__ == "__main__":
    try:
        main()
    except RefusedError as error:
        sys.exit(f"NFS error {error}")
