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
from local_ec2.control import ask
from local_ec2.credentials import Credentials
from local_ec2.faults import Fault
from local_ec2.host import check_root
from local_ec2.nodes import BootFault, read_console
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


def positive(text: str) -> int:
    """Parse a count for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give a whole number from 1 up")
    return number


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
    commands = top.add_subparsers(dest="command", required=True, metavar="{up,down,status,logs,env,spot-notice,fault}")

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
    notice = commands.add_parser(
        "spot-notice", parents=[common], help="tell an instance that EC2 takes it back, and take it back then"
    )
    notice.add_argument("instance", help="instance id")
    notice.add_argument("--action", choices=("terminate", "stop"), default="terminate", help="default: %(default)s")
    notice.add_argument(
        "--in", dest="seconds", type=positive, default=120, metavar="SECONDS", help="until then (default: %(default)s)"
    )
    add_faults(commands.add_parser("fault", help="have something go wrong"), common)
    return top


def add_faults(fault: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add what ``fault`` can be told."""
    kinds = fault.add_subparsers(dest="kind", required=True)
    count = argparse.ArgumentParser(add_help=False, parents=[common])
    count.add_argument("--count", type=positive, help="the next COUNT times only (default: until `fault clear`)")

    throttle = kinds.add_parser("throttle", parents=[count], help="refuse calls with RequestLimitExceeded")
    throttle.add_argument("action", help="EC2's action, such as RunInstances")
    throttle.set_defaults(code="RequestLimitExceeded", message="Request limit exceeded.")
    error = kinds.add_parser("error", parents=[count], help="refuse calls with any error")
    error.add_argument("action", help="EC2's action, such as RunInstances")
    error.add_argument("code", help="EC2's code, such as UnauthorizedOperation")
    error.add_argument("--message", default="Asked for by `local_ec2 fault`", help="default: %(default)s")
    capacity = kinds.add_parser(
        "capacity", parents=[count], help="refuse launches and starts with InsufficientInstanceCapacity"
    )
    capacity.add_argument("--type", default="", help="instance type (default: all)")
    invisible = kinds.add_parser(
        "invisible", parents=[count], help="hide instances launched from now on, as EC2 may before all of it knows them"
    )
    invisible.add_argument("seconds", type=float, help="for how long after their launch")
    for boot, what in {
        BootFault.NO_SSH: "boot instances on which nothing that comes in for port 22 arrives",
        BootFault.DIES: "end instances right after their launch",
        BootFault.PANICS: "boot instances whose kernel panics",
    }.items():
        kinds.add_parser(boot.value, parents=[count], help=what)
    kinds.add_parser("list", parents=[common], help="show the faults that are waiting")
    kinds.add_parser("clear", parents=[common], help="forget them; instances that have one keep it")


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


def fault(options: argparse.Namespace) -> int:
    """Have something go wrong, or show what shall."""
    given = {key: value for key, value in vars(options).items() if key in Fault.__dataclass_fields__}
    do = {"list": {"do": "list"}, "clear": {"do": "clear"}}.get(options.kind, {"do": "add", "fault": given})
    for line in ask(up_and_running(options.name), "faults", do):
        say(line)
    return 0


def spot_notice(options: argparse.Namespace) -> int:
    """Give notice of an interruption."""
    request = {"instance": options.instance, "action": options.action, "seconds": options.seconds}
    say(ask(up_and_running(options.name), "spot-notice", request))
    return 0


def env(options: argparse.Namespace) -> int:
    """Print exports."""
    settings = up_and_running(options.name)
    say(daemon.exports(settings, Credentials.load(settings)))
    return 0


def up_and_running(name: str) -> Settings:
    """Return the settings of the local EC2 of this name; refuse one that does not answer."""
    settings = daemon.running(name)
    if not settings:
        raise LocalEC2Error(f"local EC2 {name} is down: start it with `python -m local_ec2 up`")
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, return its exit code."""
    options = parser().parse_args(arguments)
    actions = {
        "up": up,
        "down": down,
        "status": status,
        "logs": logs,
        "env": env,
        "fault": fault,
        "spot-notice": spot_notice,
    }
    try:
        if options.command in ("up", "down", "status"):
            check_root()
        return actions[options.command](options)
    except (LocalEC2Error, CommandError) as error:
        print(f"local_ec2: {error}", file=sys.stderr)  # noqa: T201
        return 1
