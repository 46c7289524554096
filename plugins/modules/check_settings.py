#!/usr/bin/python
# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: check_settings
short_description: Judge the variables of a role or playbook before anything is done with them
version_added: 0.1.0
author: The sparkfleet authors (@sparkfleet)
description:
  - Compares the variables of the role whose task this is with the role's C(meta/argument_specs.yml), main entry point,
    and fails with one line for each that will not do.
    The line names the variable, what was given and what would do.
  - Also names variables that look like a misspelt setting of the role.
  - The role may say more in its internal variables. C(__<role>_formats) tells what a variable has to look like beyond
    its type, by name of the variable. Each entry may have C(pattern), a regular expression for the whole text,
    C(network), whether it has to be an IPv4 network with its size, C(min) and C(max) for whole numbers, all for each
    element of a list, C(expected), what would do in words, and C(called), the name under which users know it.
    C(__<role>_rules) is a list of rules over several variables. Each has C(ok), whether it holds, and C(message), the
    line to print if not.
  - Runs on the controller and connects to no host.
options:
  options:
    description:
      - What a playbook takes beside its roles' settings, written like the options in C(meta/argument_specs.yml).
      - Where given, these variables are judged instead of a role's.
    type: dict
attributes:
  check_mode:
    support: full
    description: Reads only.
  action:
    support: full
    description: Runs on the controller.
"""

EXAMPLES = r"""
- name: Check the settings
  sparkfleet.ec2.check_settings:

- name: Check what the playbook itself takes
  sparkfleet.ec2.check_settings:
    options:
      confirm: {type: bool}
"""

RETURN = r""" # """
