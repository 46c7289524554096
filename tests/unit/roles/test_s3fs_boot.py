"""Where s3fs keeps what is being read and written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[3] / "roles/s3fs/files/s3fs-boot"


@pytest.mark.parametrize("folder", ["disk1", "disk2"])
def test_space_is_on_the_first_disk(tmp_path: Path, folder: str) -> None:
    """Not in the folder for everybody, where somebody could have made a link of that name."""
    for name in ("disk1", "disk2", "scratch"):
        (tmp_path / name).mkdir()
    disks = ",".join(str(tmp_path / name) for name in sorted(["disk1", "disk2"], key=lambda name: name != folder))
    code = f"import shutil, runpy; shutil.chown = lambda *_: None; runpy.run_path({str(HOOK)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"SPARKFLEET_DISKS": disks, "SPARKFLEET_SCRATCH": str(tmp_path / "scratch")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"S3FS_SPACE={tmp_path / folder / 's3fs'}\n"
    assert not list((tmp_path / "scratch").iterdir())
