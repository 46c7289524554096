# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what stands between rclone and the NameNode, against a NameNode that says no as often as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType

import pytest

GREETING = b"hrpc\x09\x00\x00"
CONTEXT = -3


@pytest.fixture
def program(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program."""
    module = load("fuse_dfs/files/fuse-dfs-relay")
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    return module


def varint(value: int) -> bytes:
    head = bytes([value & 0x7F | 0x80]) if value > 0x7F else b""
    return head + (varint(value >> 7) if head else bytes([value]))


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A message of protocol buffers, with its length."""
    found = b""
    for field, value in fields:
        if isinstance(value, bytes):
            found += varint(field << 3 | 2) + varint(len(value)) + value
        else:
            found += varint(field << 3) + varint(value)
    return varint(len(found)) + found


def request(call: int, method: bytes, body: bytes = b"/a" * 200) -> bytes:
    zigzag = call << 1 if call >= 0 else -call << 1 | 1
    head = message((1, 2), (2, 0), (3, zigzag), (4, b"0123456789abcdef"), (5, 1))
    return head + message((1, method), (2, b"ClientProtocol"), (3, 1)) + message((1, body))


def response(call: int, result: int, status: int = 0) -> bytes:
    head = message((1, call), (2, status), (3, 9))
    return head + (message((1, result)) if not status else b"")


def framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4, "big") + frame


async def talk(program: ModuleType, questions: list[bytes], answers: list[bytes | None]) -> tuple[list[bytes], bytes]:
    """Return what the NameNode was asked, and what came back, when it gives these answers one after the other."""
    asked: list[bytes] = []

    async def namenode(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(GREETING)) == GREETING
        for answer in answers:
            asked.append(await program.frame_of(reader))
            if answer is not None:
                writer.write(framed(answer))
        writer.close()

    behind = await asyncio.start_server(namenode, "127.0.0.1", 0)
    program.NAMENODE = behind.sockets[0].getsockname()
    ahead = await asyncio.start_server(program.relay, "127.0.0.1", 0)
    async with behind, ahead:
        reader, writer = await asyncio.open_connection(*ahead.sockets[0].getsockname())
        writer.write(GREETING + b"".join(map(framed, questions)))
        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    return asked, said


def test_a_no_is_asked_again_until_it_is_a_yes(program: ModuleType) -> None:
    question = request(7, b"complete")
    asked, said = asyncio.run(talk(program, [question], [response(7, 0), response(7, 0), response(7, 1)]))
    assert asked == [question] * 3
    assert said == framed(response(7, 1))


def test_everything_else_passes_as_it_is(program: ModuleType) -> None:
    questions = [request(CONTEXT, b""), request(300, b"delete"), request(301, b"complete"), request(302, b"mkdirs")]
    # What is refused for good is an error; a no to any other question is an answer.
    answers = [None, response(300, 0), response(301, 0, status=1), response(302, 0)]
    asked, said = asyncio.run(talk(program, questions, answers))
    assert asked == questions
    assert said == b"".join(framed(answer) for answer in answers if answer)


def test_at_last_a_no_is_passed_on(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "TRIES", 2)
    asked, said = asyncio.run(talk(program, [request(0, b"complete")], [response(0, 0)] * 3))
    assert len(asked) == 3
    assert said == framed(response(0, 0))


def test_without_a_namenode_the_connection_ends(program: ModuleType) -> None:
    async def run() -> bytes:
        closed = await asyncio.start_server(lambda *_ends: None, "127.0.0.1", 0)
        program.NAMENODE = closed.sockets[0].getsockname()
        closed.close()
        await closed.wait_closed()
        ahead = await asyncio.start_server(program.relay, "127.0.0.1", 0)
        async with ahead:
            reader, writer = await asyncio.open_connection(*ahead.sockets[0].getsockname())
            said = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return said

    assert asyncio.run(run()) == b""
