# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, The sparkfleet authors

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster
short_description: Nodes of Spark clusters on EC2
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Finds the EC2 instances that this collection has launched, by their tag C(sparkfleet:cluster), and groups
    the nodes of one selected cluster as its C(master) and its C(workers).
  - Its configuration file must be named C(sparkfleet.yml) or end in C(.sparkfleet.yml), or the same with
    C(.yaml).
  - Which cluster is selected is decided by the first that is given of the extra var C(cluster)
    (C(-e cluster=NAME)), the environment variable E(SPARKFLEET_CLUSTER) and the option O(cluster). Where none
    is given and there is only one cluster, that one is selected. A selected cluster need not exist yet.
  - A host's inventory name is its instance ID. Hosts come with the master first, then the workers by age.
  - Whatever goes wrong ends the command. Ansible itself would only warn and go on with an empty inventory, in
    which a cluster seems not to exist.
  - C(ansible-playbook --syntax-check) checks the configuration file only and asks nothing of AWS.
extends_documentation_fragment:
  - inventory_cache
  - constructed
  - amazon.aws.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
  - amazon.aws.assume_role.plugins
notes:
  - >-
    Groups, each of which exists even when it is empty. C(master) and C(workers) hold the selected cluster's
    pending and running nodes, C(nodes) both. C(stopped) holds its stopping and stopped ones, C(failed) those that
    never came up and that the next run of the site playbook replaces. C(cluster_NAME)
    holds all nodes of that cluster, of every cluster seen; a C(-) in the name becomes C(_). Terminated
    instances never appear.
  - >-
    The group C(all) gets C(sparkfleet_cluster) (the selected cluster, V("") if there is none),
    C(sparkfleet_clusters) (sorted names of all clusters seen) and C(sparkfleet_state_dir) (O(state_dir) as an
    absolute path), so that the implicit localhost knows them too.
  - >-
    Connection variables of each host are C(ansible_host) (see O(connect_with)), C(ansible_user) (from the tag
    C(sparkfleet:login_user)) and C(ansible_ssh_common_args) (checks the host key under the instance ID
    against the cluster's own known_hosts). The group C(cluster_NAME) gets C(ansible_python_interpreter) and,
    if the cluster's directory under O(state_dir) holds a key C(id_ed25519), C(ansible_ssh_private_key_file).
    Arguments of your own, as for a bastion, go into C(ansible_ssh_extra_args).
  - One source of this plugin can be used at a time. Several regions go into O(regions).
  - Needs the permission C(ec2:DescribeInstances).
options:
  plugin:
    description: Marks the file as this plugin's.
    type: str
    required: true
    choices: [sparkfleet.ec2.cluster]
  cluster:
    description:
      - Name of the cluster to select where neither the extra var C(cluster) nor E(SPARKFLEET_CLUSTER) names
        one.
      - 1 to 40 of the characters C(a-z), C(0-9) and C(-), a letter first.
    type: str
  regions:
    description:
      - Regions to search, in parallel.
      - If empty, O(region) or the region of your AWS profile or environment.
    type: list
    elements: str
    default: []
  connect_with:
    description:
      - Which address becomes C(ansible_host).
      - With V(public_ip), an instance that has no public IP is reached by its private one.
      - A host that has no such address gets no C(ansible_host), which C(-v) mentions.
    type: str
    choices: [public_ip, private_ip, public_dns]
    default: public_ip
  hostvars_prefix:
    description:
      - Prefix of the host variables' names.
      - The collection's own playbooks need the default.
    type: str
    default: sparkfleet_
  state_dir:
    description: Directory on the controller which holds a directory of keys and known_hosts for each cluster.
    type: path
    default: ~/.sparkfleet
    env:
      - name: SPARKFLEET_HOME
  strict_permissions:
    description:
      - Whether it is an error if AWS does not permit to list a region's instances.
      - If V(false), such a region is left out with a warning.
    type: bool
    default: true
"""

EXAMPLES = r"""
# prod.sparkfleet.yml: all that is needed. Region and credentials are of your AWS profile or environment.
---
plugin: sparkfleet.ec2.cluster

# Two regions, private addresses, and what EC2 says kept for ten minutes
---
plugin: sparkfleet.ec2.cluster
cluster: nightly
regions:
  - eu-central-1
  - eu-west-1
connect_with: private_ip
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/sparkfleet
cache_timeout: 600

# Groups by instance type (type_m6i_xlarge) and by the tag Team, a group by condition, a variable of your own
---
plugin: sparkfleet.ec2.cluster
keyed_groups:
  - prefix: type
    key: sparkfleet_instance_type
  - prefix: team
    key: sparkfleet_tags.Team
groups:
  outdated: sparkfleet_collection_version is version('0.1.0', '<')
compose:
  ssh_alias: sparkfleet_cluster ~ '-' ~ sparkfleet_name

# The host variables, with sample values; null where EC2 has nothing to say
#
# sparkfleet_instance_id: i-0f3a9c1b2d4e5f607
# sparkfleet_cluster: nightly
# sparkfleet_role: worker                 # or master; null on an instance without a proper role
# sparkfleet_name: worker-1               # or master; numbered by first launch, then ID, stopped ones counted
# sparkfleet_state: running               # or pending, stopping, stopped
# sparkfleet_private_ip: 172.31.5.10
# sparkfleet_public_ip: 203.0.113.10
# sparkfleet_public_dns: ec2-203-0-113-10.eu-central-1.compute.amazonaws.com
# sparkfleet_private_dns: ip-172-31-5-10.eu-central-1.compute.internal
# sparkfleet_instance_type: m6i.xlarge
# sparkfleet_image_id: ami-0a1b2c3d4e5f60718
# sparkfleet_region: eu-central-1
# sparkfleet_availability_zone: eu-central-1a
# sparkfleet_launch_time: "2026-05-04T09:30:00+00:00"   # of the latest start
# sparkfleet_collection_version: 0.1.0
# sparkfleet_key_name: sparkfleet-nightly
# sparkfleet_security_group_ids: [sg-0123456789abcdef0]
# sparkfleet_vpc_id: vpc-0123456789abcdef0
# sparkfleet_subnet_id: subnet-0123456789abcdef0
# sparkfleet_iam_instance_profile_arn: arn:aws:iam::123456789012:instance-profile/spark
# sparkfleet_login_user: admin
# sparkfleet_client_token: 7c9e6679-worker-1
# sparkfleet_tags: {Name: nightly-worker-1, "sparkfleet:cluster": nightly, "sparkfleet:role": worker}
"""

import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.group import to_safe_group_name
from ansible_collections.amazon.aws.plugins.plugin_utils.botocore import get_aws_connection_info
from ansible_collections.amazon.aws.plugins.plugin_utils.inventory import AWSInventoryBase
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_ec2 import (
    NotPermittedError,
    connect,
    default_region,
    describe,
    explained,
)
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_options import check_options
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_records import (
    Record,
    address,
    check_cluster_name,
    foreign_ids,
    has_failed,
    ssh_arguments,
    to_records,
)

if TYPE_CHECKING:
    from ansible.inventory.data import InventoryData
    from ansible.parsing.dataloader import DataLoader

MAX_THREADS = 16
# For the playbooks, which fill them as they go: a group that exists is matched without a warning.
PLAYBOOK_GROUPS = ("sparkfleet_answers", "sparkfleet_current", "sparkfleet_walk", "sparkfleet_set_up")


class InventoryModule(AWSInventoryBase):
    """Inventory source `sparkfleet.ec2.cluster`."""

    NAME = "sparkfleet.ec2.cluster"
    INVENTORY_FILE_SUFFIXES = ("sparkfleet.yml", "sparkfleet.yaml")

    def verify_file(self, path: str) -> bool:
        """Take readable files with our endings."""
        if super().verify_file(path):
            return True
        self.debug(f"{self.NAME} declines {path}: it wants a readable file *.sparkfleet.yml or *.sparkfleet.yaml")
        return False

    def get_option(self, option: str, hostvars: dict[str, Any] | None = None) -> Any:
        """Template the same options as AWSInventoryBase, but without the flag that core 2.19 warns of."""
        value = super(AWSInventoryBase, self).get_option(option, hostvars)
        return self.templar.template(value) if option in self.TemplatedOptions.TEMPLATABLE_OPTIONS else value

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Fill the inventory, or end the command.

        The inventory manager turns every Exception of a plugin into a warning and goes on without its hosts.
        Plays on nodes would then pass having done nothing, and a launch would take a cluster for a new one.
        """
        try:
            # Not AWSInventoryBase.parse(): it would assume the role even where nothing is asked of AWS.
            super(AWSInventoryBase, self).parse(inventory, loader, path, cache)
            self._read_config_data(path)
            self._populate(self._records(path, cache))
        except Exception as error:
            self._stop(path, error)

    def _stop(self, path: str, error: Exception) -> NoReturn:
        self.display.vvv(traceback.format_exc())
        what = error if isinstance(error, AnsibleError) else f"{type(error).__name__}: {error}"
        self.display.error(AnsibleError(f"Inventory {path}: {what}", obj=getattr(error, "obj", None)))
        raise SystemExit(1) from error

    def _read_config_data(self, path: str) -> dict[str, Any]:
        """Read the options, after a closer look than Ansible's."""
        check_options(self.loader.load_from_file(path, cache="none"), self.NAME, self.option_definitions)
        return super()._read_config_data(path)

    def _records(self, path: str, cache: bool) -> list[Record]:
        """Return what exists, of all clusters: the selection comes after the cache."""
        if context.CLIARGS.get("syntax"):
            return []
        self.require_aws_sdk()
        was_cached, records = self.get_cached_result(path, cache)
        if not was_cached:
            records = self._query(self._regions())
            self.update_cached_result(path, cache, records)
        return records

    def _get_cache_prefix(self, path: str) -> str:
        """Keep apart what one file finds with different accounts, endpoints, regions and kinds of records."""
        options = ("profile", "access_key", "assume_role_arn", "endpoint_url")
        variables = ("AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL")
        where = [
            *self._regions(),
            *map(self.get_option, options),
            *map(os.environ.get, variables),
            *Record.__annotations__,
        ]
        return super()._get_cache_prefix(f"{path} {where}")

    def _regions(self) -> list[str]:
        regions = self.get_option("regions") or [self.get_option("region")]
        if not regions[0]:
            regions = [default_region(self.get_option("profile"))]
        # Plain str: the cache is not to keep where a name came from.
        return [str(region) for region in dict.fromkeys(regions)]

    def _query(self, regions: list[str]) -> list[Record]:
        """Ask all regions at once; raise AnsibleError for the first that fails."""
        clients = self._clients(regions)
        with ThreadPoolExecutor(max_workers=min(len(regions), MAX_THREADS)) as pool:
            answers = [pool.submit(describe, client) for client in clients]
        instances = []
        for answer in answers:
            try:
                instances += answer.result()
            except NotPermittedError as error:
                if self.get_option("strict_permissions"):
                    raise
                self.warn(f"Left out: {error}")
        for instance_id in foreign_ids(instances):
            self.display.v(f"{instance_id} is left out: its tag sparkfleet:cluster names no cluster of ours")
        return to_records(instances)

    def _clients(self, regions: list[str]) -> list[Any]:
        with explained("assume the role"):
            self._set_frozen_credentials()
        if self.get_option("profile") and self.get_option("access_key"):
            raise AnsibleError("both a profile and an access key are given: unset AWS_PROFILE or AWS_ACCESS_KEY_ID")
        _region, endpoint_url, options = get_aws_connection_info(self)
        return connect(regions, endpoint_url=endpoint_url, **{**options, **self._frozen_credentials})

    def _populate(self, records: list[Record]) -> None:
        seen = sorted({record["cluster"] for record in records})
        selected = self._selected(seen)
        self._add_groups(seen, selected)
        connections = {name: self._add_cluster(name) for name in sorted({*seen, selected} - {""})}
        prefix = self._prefix()
        constructed = {name: self.get_option(name) for name in ("compose", "groups", "keyed_groups", "strict")}
        for record in records:
            self._add_node(record, selected)
            variables = {prefix + key: value for key, value in record.items()}
            variables |= self._connection(record, connections[record["cluster"]])
            # Not set_variable(), which looks up the host and judges the name again for each of them.
            self.inventory.hosts[record["instance_id"]].vars.update(variables)
            self._construct(record["instance_id"], variables, constructed)

    def _selected(self, seen: list[str]) -> str:
        """Return the selected cluster's name, or "" where several exist and none is named."""
        choices = {
            "the extra var cluster": self._vars.get("cluster"),
            "the environment variable SPARKFLEET_CLUSTER": os.environ.get("SPARKFLEET_CLUSTER") or None,
            "the option cluster": self.get_option("cluster"),
        }
        for source, name in choices.items():
            # An empty extra var is an unset shell variable; it must not destroy the only cluster.
            if name is not None:
                return check_cluster_name(name, source)
        return seen[0] if len(seen) == 1 else ""

    def _add_groups(self, seen: list[str], selected: str) -> None:
        if "sparkfleet_cluster" in self.inventory.groups["all"].vars:
            raise AnsibleError("another source of this plugin is in use already; name several regions in one file")
        self.inventory.set_variable("all", "sparkfleet_cluster", selected)
        self.inventory.set_variable("all", "sparkfleet_clusters", seen)
        self.inventory.set_variable("all", "sparkfleet_state_dir", str(self._state_dir()))
        for group in ("nodes", "master", "workers", "stopped", "failed", *PLAYBOOK_GROUPS):
            self.inventory.add_group(group)
        self.inventory.add_child("nodes", "master")
        self.inventory.add_child("nodes", "workers")

    def _add_cluster(self, cluster: str) -> str:
        """Add the cluster's group with its connection variables, return the ssh arguments its nodes share."""
        home = self._state_dir() / cluster
        key = home / "id_ed25519"
        group = self.inventory.add_group(_group_of(cluster))
        self.inventory.set_variable(group, "ansible_python_interpreter", "/usr/bin/python3")
        if key.is_file():
            self.inventory.set_variable(group, "ansible_ssh_private_key_file", str(key))
        return ssh_arguments(home, key.is_file())

    def _state_dir(self) -> Path:
        return Path(self.get_option("state_dir")).absolute()

    def _add_node(self, record: Record, selected: str) -> None:
        host = self.inventory.add_host(record["instance_id"], group=_group_of(record["cluster"]))
        if record["cluster"] != selected:
            return
        if has_failed(record):
            self.inventory.add_child("failed", host)
        elif record["state"] in ("stopping", "stopped"):
            self.inventory.add_child("stopped", host)
        elif record["role"]:
            self.inventory.add_child({"master": "master", "worker": "workers"}[record["role"]], host)

    def _prefix(self) -> str:
        prefix = self.get_option("hostvars_prefix")
        if not f"{prefix}name".isidentifier():
            raise AnsibleError(f"option hostvars_prefix is {prefix!r}: take letters, digits and '_', no digit first")
        return prefix

    def _connection(self, record: Record, ssh_args: str) -> dict[str, str]:
        """Return the connection variables that differ from host to host."""
        instance_id = record["instance_id"]
        variables = {"ansible_ssh_common_args": f"-o HostKeyAlias={instance_id} {ssh_args}"}
        if record["login_user"]:
            variables["ansible_user"] = record["login_user"]
        host = address(record, self.get_option("connect_with"))
        if host:
            return {"ansible_host": host, **variables}
        self.display.v(f"{instance_id} has no {self.get_option('connect_with')}: it gets no ansible_host")
        return variables

    def _construct(self, host: str, variables: dict[str, Any], options: dict[str, Any]) -> None:
        strict = options["strict"]
        self._set_composite_vars(options["compose"], variables, host, strict)
        self._add_host_to_composed_groups(options["groups"], variables, host, strict)
        self._add_host_to_keyed_groups(options["keyed_groups"], variables, host, strict)


def _group_of(cluster: str) -> str:
    """Name a cluster's group as Ansible wants groups named, whatever is set for other groups' names."""
    return to_safe_group_name(f"cluster_{cluster}", force=True, silent=True)
