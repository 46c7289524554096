"""Print as JSON what one of Ganglia's daemons on this machine tells. Usage: figures.py PORT."""

from __future__ import annotations

import json
import socket
import sys
from xml.etree import ElementTree

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as daemon:
    # What the machine's own daemon says.
    cluster = next(ElementTree.fromstring(daemon.makefile("rb").read()).iter("CLUSTER"))  # noqa: S314
hosts = {
    host.attrib["NAME"]: {
        "address": host.attrib["IP"],
        "silent": int(host.attrib["TN"]),
        "figures": {metric.attrib["NAME"]: metric.attrib["VAL"] for metric in host.iter("METRIC")},
        "oldest": max([int(metric.attrib["TN"]) for metric in host.iter("METRIC")], default=0),
        "load": min([int(metric.attrib["TN"]) for metric in host.findall("METRIC[@NAME='load_one']")], default=9999),
    }
    for host in cluster.iter("HOST")
}
print(json.dumps({"cluster": cluster.attrib["NAME"], "hosts": hosts}))
