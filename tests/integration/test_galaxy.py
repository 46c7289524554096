"""The collection as Galaxy hands it out: built, installed somewhere else and used there, with a mock of EC2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
REGION = "eu-west-1"
VERBS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
# What lies at the top of the artifact: the reader's, Galaxy's, Ansible's. The build makes the JSON files.
TOP = {"README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.json", "FILES.json"}
FOLDERS = {"changelogs", "docs", "meta", "playbooks", "plugins", "roles"}


class Place(NamedTuple):
    """Where a user works who has the collection from Galaxy: not the checkout, and nothing of it in the environment."""

    folder: Path
    env: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Ansible; return code and output, both streams in one."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def succeed(self, *command: str) -> str:
        """Run a command that must succeed; return its output."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Serve a mock of EC2 on a free port of this machine."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Place:
    """Make a folder and an environment that know nothing of the checkout."""
    folder = tmp_path_factory.mktemp("galaxy")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return Place(folder, env)


@pytest.fixture(scope="module")
def artifact(place: Place) -> Path:
    """Build the artifact from the checkout."""
    place.succeed("ansible-galaxy", "collection", "build", str(ROOT))
    return next(place.folder.glob("sparkfleet-ec2-*.tar.gz"))


@pytest.fixture(scope="module")
def names(artifact: Path) -> set[str]:
    """Return the paths in the artifact, folders without a slash at the end."""
    with tarfile.open(artifact) as archive:
        return set(archive.getnames())


@pytest.fixture(scope="module")
def installed(place: Place, artifact: Path) -> Place:
    """Install the artifact; the collection that it needs is among Ansible's own, so nothing is fetched."""
    place.succeed("ansible-galaxy", "collection", "install", "--offline", str(artifact))
    (place.folder / "x.sparkfleet.yml").write_text("plugin: sparkfleet.ec2.cluster\n")
    return place


def test_what_ships(names: set[str]) -> None:
    """Nothing of what only developers need is in the artifact."""
    assert {name.partition("/")[0] for name in names} == TOP | FOLDERS
    assert not [name for name in names if re.search(r"(^|/)(\.|__pycache__|tests(/|$))|\.pyc$", name)]


def test_all_of_it_ships(names: set[str]) -> None:
    """Each file that Git knows in a folder that ships is in the artifact, but for notes towards the next changelog."""
    command = ["git", "ls-files", "--", *FOLDERS, ":!changelogs/fragments"]
    known = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()
    assert [name for name in known if (ROOT / name).exists() and name not in names] == []


def test_list(installed: Place, endpoint: str) -> None:
    """The installed playbook finds a cluster by the installed inventory plugin."""
    assert "There are no clusters." in installed.succeed(
        "ansible-playbook", "sparkfleet.ec2.list", "-i", "x.sparkfleet.yml"
    )
    client = boto3.client(
        "ec2", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    tags = [{"Key": "sparkfleet:cluster", "Value": "shipped"}, {"Key": "sparkfleet:role", "Value": "master"}]
    specification = [{"ResourceType": "instance", "Tags": tags}]
    image = client.describe_images()["Images"][0]["ImageId"]
    launched = client.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=specification)
    output = installed.succeed("ansible-playbook", "sparkfleet.ec2.list", "-i", "x.sparkfleet.yml")
    assert "Cluster shipped" in output
    assert re.search(rf"master +{launched['Instances'][0]['InstanceId']}", output)


@pytest.mark.parametrize("verb", VERBS)
def test_without_inventory(installed: Place, verb: str) -> None:
    """Every playbook stops, and says which line to save and how to go on; following that advice leads further."""
    done = installed.run("ansible-playbook", f"sparkfleet.ec2.{verb}")
    assert done.returncode != 0, done.stdout
    advice = re.search(r'^\[ERROR\].* save the line "(.+)" as (\S+) and add -i \2$', done.stdout, re.MULTILINE)
    assert advice, done.stdout
    assert advice[1] == "plugin: sparkfleet.ec2.cluster"
    (installed.folder / advice[2]).write_text(f"{advice[1]}\n")
    assert "save the line" not in installed.run("ansible-inventory", "-i", advice[2], "--list").stdout


def test_examples_of_roles(installed: Place) -> None:
    """The example in each role's README is a playbook that finds its roles in the installed collection."""
    readmes = sorted((ROOT / "roles").glob("*/README.md"))
    examples = [re.findall(r"^```yaml\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL) for readme in readmes]
    assert all(examples)
    # Roles that are included as a run goes on are not looked for by the check of the syntax.
    named = set(re.findall(r"sparkfleet\.ec2\.(\w+)", str(examples)))
    assert named == {readme.parent.name for readme in readmes}
    plays = [play for texts in examples for text in texts for play in yaml.safe_load(text)]
    (installed.folder / "examples.yml").write_text(yaml.safe_dump(plays))
    installed.succeed("ansible-playbook", "--syntax-check", "examples.yml")
