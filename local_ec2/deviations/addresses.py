# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private and public addresses, subnets."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces, instances, subnets, vpcs

from local_ec2.addresses import AddressPool
from local_ec2.deviations import patch
from local_ec2.deviations.cloud import Cloud
from local_ec2.deviations.errors import as_ec2, unsupported


def install(cloud: Cloud) -> None:
    """Give out our own addresses: moto's are random, may repeat, and the public ones belong to strangers."""

    def create_default_vpc(backend: Any) -> Any:
        vpc = backend.create_vpc(cidr_block=str(cloud.settings.vpc_cidr), is_default=True)
        for zone in backend.describe_availability_zones():
            backend.create_default_subnet(zone.name)
        return vpc

    def random_private_ip(cidr: str | None = None, ipv6: bool = False) -> str:
        if ipv6:
            raise unsupported("IPv6 addresses")
        network = IPv4Network(cidr) if cidr else cloud.settings.vpc_cidr
        return as_ec2(lambda: cloud.private.take(network))

    def random_public_ip() -> str:
        return as_ec2(lambda: cloud.public.take(cloud.settings.public_cidr))

    def allocate_address(*_args: Any, **_kwargs: Any) -> None:
        raise unsupported("Elastic IP addresses")

    patch.replace(vpcs.VPCBackend, "create_default_vpc", create_default_vpc)
    patch.replace(elastic_network_interfaces, "random_private_ip", random_private_ip)
    patch.replace(elastic_network_interfaces, "random_public_ip", random_public_ip)
    patch.replace(instances, "random_private_ip", random_private_ip)
    patch.replace(elastic_ip_addresses.ElasticAddressBackend, "allocate_address", allocate_address)
    _install_subnets(cloud.private)


def _install_subnets(pool: AddressPool) -> None:
    """Subnets: addresses out of the pool; a taken one that was asked for is EC2's error (moto: status 500)."""

    def get_available_subnet_ip(subnet: Any, instance: Any) -> str:
        address = as_ec2(lambda: pool.take(subnet.cidr))
        subnet._subnet_ips[address] = instance
        return address

    def request_ip(subnet: Any, ip: str, instance: Any) -> None:
        as_ec2(lambda: pool.claim(ip, subnet.cidr))
        subnet._subnet_ips[ip] = instance

    def del_subnet_ip(subnet: Any, ip: str) -> None:
        if subnet._subnet_ips.pop(ip, None) is not None:
            pool.release(ip)

    patch.replace(subnets.Subnet, "get_available_subnet_ip", get_available_subnet_ip)
    patch.replace(subnets.Subnet, "request_ip", request_ip)
    patch.replace(subnets.Subnet, "del_subnet_ip", del_subnet_ip)
