# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin as Ansible runs it: a file in, groups, hosts and variables or one line of error out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from ansible.template import is_trusted_as_template
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager
from ansible_collections.sparkfleet.ec2.plugins.inventory import cluster
from ansible_collections.sparkfleet.ec2.plugins.plugin_utils._inventory_records import Record

Command = Callable[..., None]
Launch = Callable[..., list[str]]
Make = Callable[..., dict[str, Any]]
Parse = Callable[..., InventoryManager]
Stops = Callable[..., str]

GUIDE = Path(__file__).parents[4] / "docs" / "inventory.md"
CACHE = "cache: true\ncache_plugin: ansible.builtin.jsonfile\ncache_connection: {path}\n"
GROUPS = {"all", "ungrouped", "nodes", "master", "workers", "stopped", "failed"} | set(cluster.PLAYBOOK_GROUPS)


def members(inventory: InventoryManager, *groups: str) -> dict[str, list[str]]:
    """Return the names of the groups' hosts, in order."""
    return {group: [host.name for host in inventory.groups[group].get_hosts()] for group in groups}


def all_vars(inventory: InventoryManager) -> dict[str, Any]:
    """Return what the plugin has set on the group `all`."""
    return inventory.groups["all"].vars


# Which hosts, in which groups


def test_a_selected_cluster_among_several(launch: Launch, parse: Parse, command_line: Command) -> None:
    workers = set(launch("prod", "worker", 2))
    (master,) = launch("prod", "master")
    (other,) = launch("my-dev-2", "master")
    boto3.client("ec2", region_name="eu-central-1").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    command_line(extra_vars=("cluster=prod",))
    inventory = parse()
    assert set(inventory.groups) == {*GROUPS, "cluster_prod", "cluster_my_dev_2"}
    hosts = members(inventory, "nodes", "master", "workers", "stopped", "cluster_prod", "cluster_my_dev_2")
    assert {group: set(names) for group, names in hosts.items()} == {
        "nodes": {master, *workers},
        "master": {master},
        "workers": workers,
        "stopped": set(),
        "cluster_prod": {master, *workers},
        "cluster_my_dev_2": {other},
    }
    assert hosts["cluster_prod"][0] == master
    assert all_vars(inventory)["sparkfleet_cluster"] == "prod"
    assert all_vars(inventory)["sparkfleet_clusters"] == ["my-dev-2", "prod"]


def test_several_clusters_and_none_selected(launch: Launch, parse: Parse) -> None:
    launch("a", "master")
    launch("b", "master")
    inventory = parse()
    assert members(inventory, "nodes", "stopped") == {"nodes": [], "stopped": []}
    assert all_vars(inventory)["sparkfleet_cluster"] == ""
    assert all_vars(inventory)["sparkfleet_clusters"] == ["a", "b"]


def test_a_cluster_yet_to_be_launched(launch: Launch, parse: Parse, command_line: Command, capfd: Any) -> None:
    command_line(extra_vars=("cluster=brand-new",))
    inventory = parse()
    assert set(inventory.groups) == {*GROUPS, "cluster_brand_new"}
    assert inventory.hosts == {}
    assert all_vars(inventory)["sparkfleet_cluster"] == "brand-new"
    assert all_vars(inventory)["sparkfleet_clusters"] == []
    assert capfd.readouterr().err == ""


def test_stopped_nodes_are_apart_and_terminated_ones_gone(launch: Launch, parse: Parse) -> None:
    stopped, terminated, running = launch("a", "worker", 3)
    client = boto3.client("ec2", region_name="eu-central-1")
    client.stop_instances(InstanceIds=[stopped])
    client.terminate_instances(InstanceIds=[terminated])
    inventory = parse()
    assert members(inventory, "workers", "stopped") == {"workers": [running], "stopped": [stopped]}
    names = {name: host.vars["sparkfleet_name"] for name, host in inventory.hosts.items()}
    assert names == dict(zip(members(inventory, "cluster_a")["cluster_a"], ["worker-1", "worker-2"], strict=True))


@pytest.mark.parametrize(
    ("state", "group"),
    [("pending", "workers"), ("running", "workers"), ("stopping", "stopped"), ("stopped", "stopped")],
)
def test_states(state: str, group: str, script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1", State={"Name": state}))
    inventory = parse()
    assert [name for name, hosts in members(inventory, "workers", "stopped").items() if hosts] == [group]
    assert inventory.hosts["i-1"].vars["sparkfleet_state"] == state


def test_an_instance_without_a_role_is_in_its_cluster_only(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1", role=None))
    assert members(parse(), "nodes", "stopped", "cluster_a") == {"nodes": [], "stopped": [], "cluster_a": ["i-1"]}


def test_a_foreign_tag_is_no_cluster(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1", "../../etc"), instance("i-2", "a"))
    inventory = parse()
    assert list(inventory.hosts) == ["i-2"]
    assert all_vars(inventory)["sparkfleet_clusters"] == ["a"]


def test_all_pages_are_read(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-3"), token="more")
    script.answer(token="and more")
    script.answer(instance("i-1"), instance("i-2", role="master"))
    assert list(parse().hosts) == ["i-2", "i-1", "i-3"]


# Which cluster


@pytest.mark.parametrize(
    ("extra", "environment", "option", "expected"),
    [
        ("one", "two", "three", "one"),
        (None, "two", "three", "two"),
        (None, "", "three", "three"),
        (None, None, "three", "three"),
        (None, None, None, "only"),
    ],
)
def test_who_selects(
    *,
    extra: str | None,
    environment: str | None,
    option: str | None,
    expected: str,
    script: Any,
    instance: Make,
    parse: Parse,
    command_line: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script.answer(instance("i-1", "only"))
    command_line(extra_vars=(f"cluster={extra}",) if extra else ())
    if environment is not None:
        monkeypatch.setenv("SPARKFLEET_CLUSTER", environment)
    inventory = parse(f"cluster: {option}" if option else "")
    assert all_vars(inventory)["sparkfleet_cluster"] == expected
    assert inventory.hosts["i-1"].vars["sparkfleet_cluster"] == "only"


@pytest.mark.parametrize("extra", ["cluster=Prod", "cluster=", '{"cluster": 5}', '{"cluster": ["a"]}'])
def test_an_extra_var_that_names_no_cluster(
    *, extra: str, script: Any, instance: Make, parse: Parse, stops: Stops, command_line: Command
) -> None:
    script.answer(instance("i-1", "only"))
    command_line(extra_vars=(extra,))
    assert "the extra var cluster is " in stops(parse)


def test_an_environment_that_names_no_cluster(
    script: Any, parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.answer()
    monkeypatch.setenv("SPARKFLEET_CLUSTER", "my_cluster")
    assert "the environment variable SPARKFLEET_CLUSTER is 'my_cluster'" in stops(parse)


def test_a_second_source_is_refused(script: Any, parse: Parse, stops: Stops, tmp_path: Path) -> None:
    script.answer()
    script.answer()
    directory = tmp_path / "inventory"
    directory.mkdir()
    parse(name="inventory/a.sparkfleet.yml")
    script.answer()
    (directory / "b.sparkfleet.yml").write_text("plugin: sparkfleet.ec2.cluster\n")
    assert "another source of this plugin" in stops(InventoryManager, DataLoader(), [str(directory)])


def test_the_implicit_localhost_knows_the_clusters(launch: Launch, parse: Parse) -> None:
    launch("a", "master")
    inventory = parse()
    localhost = inventory.get_host("localhost")
    assert localhost.implicit
    known = VariableManager(loader=DataLoader(), inventory=inventory).get_vars(host=localhost)
    assert (known["sparkfleet_cluster"], known["sparkfleet_clusters"]) == ("a", ["a"])


# Variables


def test_host_variables_are_json_as_documented_and_no_templates(launch: Launch, parse: Parse) -> None:
    (worker,) = launch("a", "worker", Note="{{ lookup('pipe', 'id') }}", **{"sparkfleet:login_user": "admin"})
    variables = parse().hosts[worker].vars
    ours = {name: value for name, value in variables.items() if name.startswith("sparkfleet_")}
    assert json.loads(json.dumps(ours)) == ours
    documented = re.findall(r"^# sparkfleet_(\w+): ", cluster.EXAMPLES, re.MULTILINE)
    assert [name.removeprefix("sparkfleet_") for name in ours] == list(Record.__annotations__) == documented
    assert re.findall(r"^\| `sparkfleet_(\w+)` \|", GUIDE.read_text(), re.MULTILINE) == documented
    assert ours["sparkfleet_tags"]["Note"].startswith("{{")
    assert not is_trusted_as_template(ours["sparkfleet_tags"]["Note"])
    assert variables["ansible_user"] == "admin"
    assert ours["sparkfleet_region"] == "eu-central-1"


def test_the_users_prefix(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1"))
    variables = parse("hostvars_prefix: node_").hosts["i-1"].vars
    assert variables["node_name"] == "worker-1"
    assert not [name for name in variables if name.startswith("sparkfleet_")]


@pytest.mark.parametrize(("option", "host"), [("", "203.0.113.9"), ("connect_with: private_ip", "10.0.0.9")])
def test_connect_with(option: str, host: str, script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1", PublicIpAddress="203.0.113.9", PrivateIpAddress="10.0.0.9"))
    assert parse(option).hosts["i-1"].vars["ansible_host"] == host


def test_a_host_that_cannot_be_reached_that_way(
    script: Any, instance: Make, parse: Parse, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Display(), "verbosity", 1)
    script.answer(instance("i-1", PublicIpAddress="203.0.113.9"))
    variables = parse("connect_with: public_dns").hosts["i-1"].vars
    assert not {"ansible_host", "ansible_user"} & set(variables)
    assert "i-1 has no public_dns: it gets no ansible_host" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["default", "option", "environment"])
def test_the_state_directory(
    *, given: str, script: Any, instance: Make, parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / (".sparkfleet" if given == "default" else "my state")
    if given == "environment":
        monkeypatch.setenv("SPARKFLEET_HOME", str(home))
    (home / "a").mkdir(parents=True)
    (home / "a" / "id_ed25519").touch()
    script.answer(instance("i-1", "a"), instance("i-2", "b"))
    inventory = parse(f"state_dir: {home}" if given == "option" else "")
    assert all_vars(inventory)["sparkfleet_state_dir"] == str(home)
    assert inventory.groups["cluster_a"].vars == {
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(home / "a" / "id_ed25519"),
    }
    assert inventory.groups["cluster_b"].vars == {"ansible_python_interpreter": "/usr/bin/python3"}
    arguments = {name: host.vars["ansible_ssh_common_args"] for name, host in inventory.hosts.items()}
    assert arguments == {
        "i-1": f"-o HostKeyAlias=i-1 -o 'UserKnownHostsFile=\"{home}/a/known_hosts\"'"
        " -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes",
        "i-2": f"-o HostKeyAlias=i-2 -o 'UserKnownHostsFile=\"{home}/b/known_hosts\"' -o StrictHostKeyChecking=yes",
    }


CONSTRUCTED = """
keyed_groups: [{prefix: type, key: sparkfleet_instance_type}]
groups: {outdated: "sparkfleet_collection_version is none"}
compose: {alias: "sparkfleet_cluster ~ '-' ~ sparkfleet_name", ansible_host: sparkfleet_private_ip}
"""


def test_constructed_groups_and_variables(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1", InstanceType="m5.large", PrivateIpAddress="10.0.0.9", PublicIpAddress="203.0.113.9"))
    inventory = parse(CONSTRUCTED)
    assert members(inventory, "type_m5_large", "outdated") == {"type_m5_large": ["i-1"], "outdated": ["i-1"]}
    assert inventory.hosts["i-1"].vars["alias"] == "a-worker-1"
    assert inventory.hosts["i-1"].vars["ansible_host"] == "10.0.0.9"


def test_a_strict_expression_that_fails(script: Any, instance: Make, parse: Parse, stops: Stops) -> None:
    script.answer(instance("i-1"))
    said = stops(parse, "strict: true\ncompose: {alias: no_such_variable}")
    assert "Could not set alias for host i-1" in said


def test_the_examples_work(launch: Launch, parse: Parse, tmp_path: Path) -> None:
    launch("nightly", "worker", Team="data", **{"sparkfleet:collection_version": "0.0.9"})
    examples = [one for one in yaml.safe_load_all(cluster.EXAMPLES) if one]
    assert len(examples) == 3
    for example in examples:
        assert example.pop("plugin") == "sparkfleet.ec2.cluster"
        inventory = parse(yaml.safe_dump(example) if example else "")
        assert len(inventory.groups["workers"].get_hosts()) == 1
    assert {"type_m1_small", "team_data", "outdated"} <= set(inventory.groups)


# Regions and permissions


def test_several_regions(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1"), region="eu-west-1")
    script.answer(instance("i-2"), region="us-east-2")
    inventory = parse("regions: [eu-west-1, us-east-2, eu-west-1]")
    regions = {name: host.vars["sparkfleet_region"] for name, host in inventory.hosts.items()}
    assert regions == {"i-1": "eu-west-1", "i-2": "us-east-2"}


def test_regions_on_moto(launch: Launch, parse: Parse, capfd: Any) -> None:
    here, there = launch("a", "master"), launch("a", "worker", region="us-west-2")
    assert list(parse("regions: [eu-central-1, us-west-2]").hosts) == here + there
    assert list(parse("regions: [\"{{ 'us-west-' ~ 2 }}\"]").hosts) == there
    assert list(parse("region: us-west-2").hosts) == there
    assert capfd.readouterr().err == ""


def test_the_profiles_region(launch: Launch, parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = launch("a", "worker", region="us-west-2")
    (tmp_path / "config").write_text("[profile there]\nregion = us-west-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text("[there]\naws_access_key_id = x\naws_secret_access_key = y\n")
    assert list(parse("profile: there").hosts) == there


def test_a_region_that_is_not_permitted(script: Any, instance: Make, parse: Parse, stops: Stops) -> None:
    script.refuse("UnauthorizedOperation", region="eu-west-1")
    script.answer(instance("i-2"), region="us-east-2")
    said = stops(parse, "regions: [eu-west-1, us-east-2]")
    assert "cannot list the instances in eu-west-1, not permitted: allow ec2:DescribeInstances" in said


def test_a_region_that_need_not_be_permitted(script: Any, instance: Make, parse: Parse, capsys: Any) -> None:
    script.refuse("UnauthorizedOperation", region="eu-west-1")
    script.answer(instance("i-2"), region="us-east-2")
    assert list(parse("regions: [eu-west-1, us-east-2]\nstrict_permissions: false").hosts) == ["i-2"]
    assert "Left out: cannot list the instances in eu-west-1" in " ".join(capsys.readouterr().err.split())


def test_permissions_excuse_no_other_error(script: Any, parse: Parse, stops: Stops) -> None:
    script.refuse("RequestExpired")
    assert "credentials have expired" in stops(parse, "strict_permissions: false")


# What goes wrong ends the command, with one line


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("RequestExpired", "the AWS credentials have expired"),
        ("AuthFailure", "AWS refuses these credentials"),
        ("InternalError", "cannot list the instances in eu-central-1: An error occurred (InternalError)"),
    ],
)
def test_errors_of_ec2(code: str, hint: str, script: Any, parse: Parse, stops: Stops) -> None:
    script.refuse(code)
    said = stops(parse)
    assert hint in said
    assert "EC2's own words" in said


def test_no_credentials(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "found no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and" in stops(parse)


def test_half_the_credentials(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "found no AWS credentials: set" in stops(parse)


def test_no_region(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    assert "found no region: set AWS_REGION, or `region` in your AWS profile, or `regions` here" in stops(parse)


def test_no_such_profile(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "check the profile's name" in stops(parse)
    assert "(nobody) could not be found" in stops(parse, "region: eu-west-1")


def test_nobody_answers(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "no answer: check the region's name, the network and, where it is set, AWS_ENDPOINT_URL" in stops(parse)


def test_an_endpoint_that_is_no_url(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    assert "cannot connect to EC2: Invalid endpoint: localhost" in stops(parse)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("regoins: [eu-west-1]", "there is no option 'regoins', perhaps you mean regions"),
        ("zzz: 1", "there is no option 'zzz', perhaps you mean access_key, "),
        ("regions: eu-west-1", "option regions takes a list, as in [one, two], and not 'eu-west-1'"),
        ("regions: [1]", "option regions takes a list of strings, and not [1]"),
        ("regions: [eu west]", "Provided region_name 'eu west' doesn't match a supported format"),
        ("connect_with: magic", "option connect_with takes one of public_ip, private_ip, public_dns, and not 'magic'"),
        ("cache: perhaps", "option cache takes true or false, and not 'perhaps'"),
        ("cache_timeout: long", "option cache_timeout takes a whole number, and not 'long'"),
        ("compose: []", "option compose takes a mapping of names to values, and not []"),
        ("cluster: [a]", "option cluster takes a string, and not ['a']"),
        ("hostvars_prefix: 1-", "option hostvars_prefix is '1-': take letters, digits and '_'"),
    ],
)
def test_options_that_are_wrong(options: str, said: str, launch: Launch, parse: Parse, stops: Stops) -> None:
    assert said in stops(parse, options)


def test_an_option_without_a_value_is_as_good_as_none(script: Any, parse: Parse) -> None:
    script.answer()
    assert all_vars(parse("cluster:\nregions:\ncache:\n"))["sparkfleet_cluster"] == ""


@pytest.mark.parametrize("content", ["", "- a\n", "words\n", "plugin: amazon.aws.aws_ec2\n"])
def test_a_file_that_is_not_ours(content: str, command_line: Command, stops: Stops, tmp_path: Path) -> None:
    path = tmp_path / "x.sparkfleet.yml"
    path.write_text(content)

    def parse() -> None:
        plugin = inventory_loader.get("sparkfleet.ec2.cluster")
        plugin.parse(InventoryManager(DataLoader(), [], parse=False), DataLoader(), str(path))

    assert "the file must hold at least the line 'plugin: sparkfleet.ec2.cluster'" in stops(parse)


def test_a_defect_of_ours_is_no_empty_inventory(parse: Parse, stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "connect", lambda *_args, **_options: [{}["region"]])
    assert stops(parse).endswith("KeyError: 'region'")


def test_a_syntax_check_asks_nothing_of_aws(script: Any, parse: Parse, stops: Stops, command_line: Command) -> None:
    command_line(syntax=True)
    assert set(parse().groups) == GROUPS
    assert "no option 'x'" in stops(parse, "x: 1")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sparkfleet.yml", True),
        ("prod.sparkfleet.yml", True),
        ("prod.sparkfleet.yaml", True),
        ("prod.yml", False),
        ("sparkfleet.json", False),
    ],
)
def test_names_of_files(name: str, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = inventory_loader.get("sparkfleet.ec2.cluster")
    said: list[str] = []
    monkeypatch.setattr(plugin, "debug", said.append)
    (tmp_path / name).touch()
    assert plugin.verify_file(str(tmp_path / name)) is wanted
    assert wanted or "*.sparkfleet.yml or *.sparkfleet.yaml" in said[0]
    assert not plugin.verify_file(str(tmp_path / "absent.sparkfleet.yml"))


# Cache


def test_a_warm_cache_serves_every_cluster(
    script: Any, instance: Make, parse: Parse, command_line: Command, tmp_path: Path
) -> None:
    cache = CACHE.format(path=tmp_path / "cache")
    script.answer(instance("i-1", "a"), instance("i-2", "b"))
    cold = parse(cache)
    (entry,) = (tmp_path / "cache").iterdir()
    written = entry.stat()
    command_line(extra_vars=("cluster=b",))
    warm = parse(cache)
    assert members(warm, "workers") == {"workers": ["i-2"]}
    assert warm.hosts["i-1"].vars == cold.hosts["i-1"].vars
    assert entry.stat() == written


def test_a_cached_region_is_plain_text(launch: Launch, parse: Parse, tmp_path: Path) -> None:
    launch("a", "worker")
    parse(CACHE.format(path=tmp_path / "cache"))
    (entry,) = (tmp_path / "cache").iterdir()
    assert json.loads(json.loads(entry.read_text())["__payload__"])[0]["region"] == "eu-central-1"


def test_a_refresh_sees_new_instances_and_keeps_them(script: Any, instance: Make, parse: Parse, tmp_path: Path) -> None:
    cache = CACHE.format(path=tmp_path / "cache")
    script.answer(instance("i-1"))
    inventory = parse(cache)
    script.answer(instance("i-1"), instance("i-2"))
    inventory.refresh_inventory()
    assert set(inventory.hosts) == {"i-1", "i-2"}
    assert set(parse(cache).hosts) == {"i-1", "i-2"}


@pytest.mark.parametrize(
    ("variable", "value", "region"),
    [
        ("AWS_REGION", "eu-west-1", "eu-west-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "of another account", "eu-central-1"),
    ],
)
def test_another_account_endpoint_or_region_has_its_own_cache(
    *,
    variable: str,
    value: str,
    region: str,
    script: Any,
    instance: Make,
    parse: Parse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = CACHE.format(path=tmp_path / "cache")
    script.answer(instance("i-1"))
    assert set(parse(cache).hosts) == {"i-1"}
    monkeypatch.setenv(variable, value)
    script.answer(instance("i-2"), region=region)
    assert set(parse(cache).hosts) == {"i-2"}


def test_records_of_an_older_version_are_not_read(
    script: Any, instance: Make, parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CACHE.format(path=tmp_path / "cache")
    script.answer(instance("i-1"))
    parse(cache)
    monkeypatch.setitem(Record.__annotations__, "new", str)
    script.answer(instance("i-2"))
    assert set(parse(cache).hosts) == {"i-2"}


def test_without_a_cache_every_parse_asks(script: Any, instance: Make, parse: Parse) -> None:
    script.answer(instance("i-1"))
    script.answer(instance("i-2"))
    assert [set(parse().hosts), set(parse().hosts)] == [{"i-1"}, {"i-2"}]
