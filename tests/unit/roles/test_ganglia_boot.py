"""The name of a node, and who listens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[3] / "roles/ganglia/files/ganglia-boot"


@pytest.mark.parametrize(
    ("role", "name", "deaf"),
    [("master", "master", "no"), ("worker", "worker-10.0.0.7", "yes")],
)
def test_names(tmp_path: Path, role: str, name: str, deaf: str) -> None:
    """By role and address; nothing that others read, and nothing new where nothing changed."""
    file, program = tmp_path / "ganglia.env", tmp_path / "hook"
    program.write_text(HOOK.read_text().replace("/run/sparkfleet/ganglia.env", str(file)))
    environment = {"SPARKFLEET_ROLE": role, "SPARKFLEET_ADDRESS": "10.0.0.7", "SPARKFLEET_CLUSTER": "prod"}
    times = set()
    for _boot in range(2):
        done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == ""
        times.add(file.stat().st_mtime_ns)
    # Where the modules are depends on the machine.
    said = file.read_text().partition("GANGLIA_MODULES=")[0]
    assert said == f"GANGLIA_CLUSTER=prod\nGANGLIA_ADDRESS=10.0.0.7\nGANGLIA_NAME={name}\nGANGLIA_DEAF={deaf}\n"
    assert len(times) == 1
