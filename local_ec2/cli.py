# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from local_ec2 import daemon
from local_ec2.host import check_root
from local_ec2.nodes import read_console
from local_ec2.run import CommandError
from local_ec2.settings import LocalEC2Error, Settings

DESCRIPTION = "An EC2 on this machine: the API by moto, the instances by podman. No AWS account, nothing leaves it."
EPILOG = 'Point any AWS client at it: eval "$(python -m local_ec2 env)"'
DOWN = 3


def say(text: str) -> None:
    """Print a line for the user at once."""
    print(text, flush=True)  # noqa: T201


def network(text: str) -> IPv4Network:
    """Parse a CIDR for argparse."""
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parser() -> argparse.ArgumentParser:
    """Return the parser; every option's default can come from the environment."""

    def setting(option: str, default: str) -> str:
        return os.environ.get(f"SPARKFLEET_LOCAL_EC2_{option}", default)

    top = argparse.ArgumentParser(prog="python -m local_ec2", description=DESCRIPTION, epilog=EPILOG)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--name",
        default=setting("NAME", Settings.name),
        help="several local EC2s can be up at once, each with a name and addresses of its own "
        "(default: %(default)s; environment SPARKFLEET_LOCAL_EC2_NAME)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="{up,down,status,logs,env}")

    up = commands.add_parser("up", parents=[common], help="start it; what it needs is made first (a minute, once)")
    up.add_argument(
        "--port",
        type=int,
        default=setting("PORT", str(Settings.port)),
        help="port of the API on 127.0.0.1; the mirror takes the next (default: %(default)s; environment "
        "SPARKFLEET_LOCAL_EC2_PORT)",
    )
    up.add_argument(
        "--vpc-cidr",
        type=network,
        default=setting("VPC_CIDR", str(Settings.vpc_cidr)),
        help="the default VPC, a /16 (default: %(default)s; environment SPARKFLEET_LOCAL_EC2_VPC_CIDR)",
    )
    up.add_argument(
        "--public-cidr",
        type=network,
        default=setting("PUBLIC_CIDR", str(Settings.public_cidr)),
        help="public addresses, routed on this machine only (default: %(default)s; environment "
        "SPARKFLEET_LOCAL_EC2_PUBLIC_CIDR)",
    )
    up.add_argument(
        "--no-mirror",
        dest="mirror",
        action="store_false",
        default=setting("MIRROR", "1") != "0",
        help="no artifact mirror: nodes download from the internet (environment SPARKFLEET_LOCAL_EC2_MIRROR=0)",
    )
    down = commands.add_parser(
        "down", parents=[common], help="remove nodes, network and server; keep image and downloads"
    )
    down.add_argument("--purge", action="store_true", help="remove the node image and the downloads too")
    commands.add_parser("status", parents=[common], help=f"say what is there; exit code {DOWN} when it is down")
    logs = commands.add_parser("logs", parents=[common], help="print the server's log or an instance's console")
    logs.add_argument("instance", nargs="?", help="instance id")
    commands.add_parser("env", parents=[common], help="print shell exports for AWS clients, for eval")
    return top


def up(options: argparse.Namespace) -> int:
    """Start."""
    started = time.monotonic()
    fields = ("name", "port", "vpc_cidr", "public_cidr", "mirror")
    settings = Settings(**{field: getattr(options, field) for field in fields})
    running = daemon.running(settings.name)
    if running:
        say(f"local EC2 {running.name} is up already: {running.endpoint}")
    else:
        daemon.up(settings, lambda text: say(f"[{time.monotonic() - started:5.1f} s] {text}"))
    say(f'use it:  eval "$({daemon.command_line(settings, "env")})"')
    return 0


def down(options: argparse.Namespace) -> int:
    """Stop."""
    settings = Settings.load(options.name) or Settings(name=options.name)
    nodes = daemon.down(settings)
    say(f"local EC2 {settings.name} is down, {nodes} node(s) removed")
    if options.purge:
        daemon.purge()
        say("node image and downloads are removed")
    return 0


def status(options: argparse.Namespace) -> int:
    """Report."""
    settings = daemon.running(options.name)
    if not settings:
        say(f"local EC2 {options.name} is down")
        return DOWN
    # boto3 takes half a second to import: only this command pays for it.
    from local_ec2.status import report  # noqa: PLC0415

    for line in report(settings):
        say(line)
    return 0


def logs(options: argparse.Namespace) -> int:
    """Print a log."""
    settings = Settings.load(options.name)
    path = settings and (settings.node_dir(options.instance) / "console.log" if options.instance else settings.log_file)
    if not path or not path.exists():
        raise LocalEC2Error(f"local EC2 {options.name} has no log of {options.instance or 'a server'}")
    say(read_console(path) if options.instance else path.read_text(encoding="utf-8", errors="replace"))
    return 0


def env(options: argparse.Namespace) -> int:
    """Print exports."""
    settings = daemon.running(options.name)
    if not settings:
        raise LocalEC2Error(f"local EC2 {options.name} is down: start it with `python -m local_ec2 up`")
    say(daemon.exports(settings))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, return its exit code."""
    options = parser().parse_args(arguments)
    actions = {"up": up, "down": down, "status": status, "logs": logs, "env": env}
    try:
        if options.command in ("up", "down", "status"):
            check_root()
        return actions[options.command](options)
    except (LocalEC2Error, CommandError) as error:
        print(f"local_ec2: {error}", file=sys.stderr)  # noqa: T201
        return 1
