# Copyright (c) 2026, The sparkfleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror: checksums, packing, and the recipes on tiny packages."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from local_ec2.mirror import archives, hadoop, maven, spark
from local_ec2.mirror.archives import Archive, pack, parse_checksum, provide, text_member
from local_ec2.mirror.http import Handler, Server
from local_ec2.settings import LocalEC2Error

HASH = hashlib.sha512(b"x").hexdigest()
PACKAGE = {
    "LICENSE": 0o644,
    "setup.py": 0o644,
    "deps/bin/spark-submit": 0o755,
    "deps/jars/spark-core_2.13-4.2.1.jar": 0o644,
    "deps/examples/pi.py": 0o755,
    "deps/data/mllib/als/test.data": 0o644,
    "lib/py4j-0.10.9.9-src.zip": 0o644,
    "pyspark/sql/functions.py": 0o644,
    "pyspark/python/pyspark/shell.py": 0o644,
    "pyspark.egg-info/PKG-INFO": 0o644,
}
ARCHIVED = {
    "LICENSE": 0o644,
    "RELEASE": 0o644,
    "bin/spark-submit": 0o755,
    "data/mllib/als/test.data": 0o644,
    "examples/src/main/python/pi.py": 0o755,
    "jars/spark-core_2.13-4.2.1.jar": 0o644,
    "python/lib/py4j-0.10.9.9-src.zip": 0o644,
    "python/pyspark/sql/functions.py": 0o644,
    "python/setup.py": 0o644,
}


@pytest.mark.parametrize(
    "text",
    [
        f"{HASH}  a.tgz\n",
        f"{HASH} *a.tgz\n",
        HASH.upper(),
        "a.tgz: " + " ".join(HASH[i : i + 8].upper() for i in range(0, 128, 8)),
        "a.tgz:\n" + "\n".join(HASH[i : i + 32] for i in range(0, 128, 32)),
    ],
)
def test_checksum_files_of_apache(text: str) -> None:
    assert parse_checksum(text, "a.tgz") == HASH


@pytest.mark.parametrize("text", ["", "<html>not found</html>", f"{HASH[:-1]}  a.tgz"])
def test_what_is_no_checksum_file(text: str) -> None:
    with pytest.raises(LocalEC2Error, match=r"a\.tgz\.sha512"):
        parse_checksum(text, "a.tgz")


def test_packing_is_sorted_owned_by_root_and_repeatable(tmp_path: Path) -> None:
    members = [text_member("top/b/two", "2"), text_member("top/a", "1")]
    digests = [pack(order, tmp_path / name) for name, order in (("one", members), ("two", members[::-1]))]
    assert digests[0] == digests[1] == hashlib.sha512((tmp_path / "one").read_bytes()).hexdigest()
    with tarfile.open(tmp_path / "one") as tar:
        assert tar.getnames() == ["top", "top/a", "top/b", "top/b/two"]
        assert {(info.uname, info.uid, info.mtime) for info in tar} == {("root", 0, archives.MTIME)}


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """A downloads folder with a tiny pyspark package."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    with tarfile.open(folder / f"pyspark-{spark.VERSION}.tar.gz", "w:gz") as tar:
        for path, mode in PACKAGE.items():
            info = tarfile.TarInfo(f"pyspark-{spark.VERSION}/{path}")
            info.mode, info.size = mode, len(path)
            tar.addfile(info, io.BytesIO(path.encode()))
    return folder


def test_spark_has_the_layout_of_apaches_archive(downloads: Path, tmp_path: Path) -> None:
    with spark.members(downloads, print) as members:
        pack(members, tmp_path / "spark.tgz")
    with tarfile.open(tmp_path / "spark.tgz") as tar:
        files = {info.name.removeprefix(f"{spark.NAME}/"): info.mode for info in tar if info.isfile()}
        jar = tar.extractfile(f"{spark.NAME}/jars/spark-core_2.13-4.2.1.jar")
        assert jar is not None
        assert jar.read() == b"deps/jars/spark-core_2.13-4.2.1.jar"
        release = tar.extractfile(f"{spark.NAME}/RELEASE")
        assert release is not None
        assert b"put together from PyPI" in release.read()
    assert files == ARCHIVED


def test_hadoop_has_the_layout_of_apaches_archive(tmp_path: Path) -> None:
    folder = tmp_path / "hadoop-1.2.3"
    folder.mkdir()
    (folder / "pom.xml").write_text(hadoop.pom("1.2.3", hadoop.SERVERS))
    for name in ("hadoop-common-1.2.3", "hadoop-auth-1.2.3", "hadoop-hdfs-1.2.3", "hadoop-hdfs-client-1.2.3", "gson-2"):
        (folder / f"{name}.jar").write_text(name)
    with zipfile.ZipFile(folder / "hadoop-hdfs-1.2.3-tests.jar", "w") as jar:
        jar.writestr("webapps/hdfs/index.html", "page")
        jar.writestr("org/apache/hadoop/Test.class", "class")
    with hadoop.members("1.2.3", hadoop.SERVERS, tmp_path, print) as members:
        pack(members, tmp_path / "hadoop.tgz")
    with tarfile.open(tmp_path / "hadoop.tgz") as tar:
        files = {info.name.removeprefix("hadoop-1.2.3/") for info in tar if info.isfile()}
        page = tar.extractfile("hadoop-1.2.3/share/hadoop/hdfs/webapps/hdfs/index.html")
        assert page is not None
        assert page.read() == b"page"
    assert files == {
        "RELEASE",
        "share/hadoop/common/hadoop-common-1.2.3.jar",
        "share/hadoop/common/lib/gson-2.jar",
        "share/hadoop/common/lib/hadoop-auth-1.2.3.jar",
        "share/hadoop/hdfs/hadoop-hdfs-1.2.3.jar",
        "share/hadoop/hdfs/hadoop-hdfs-client-1.2.3.jar",
        "share/hadoop/hdfs/webapps/hdfs/index.html",
    }


def test_no_maven_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalEC2Error, match="install maven"):
        hadoop.download("1.2.3", hadoop.SERVERS, tmp_path, print)


class Recipe:
    """A recipe that counts how often it is used."""

    def __init__(self) -> None:
        self.used = 0

    @contextmanager
    def members(self, downloads: Path, say: object) -> object:
        self.used += 1
        yield [text_member("top/file", "content")]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe on a machine without Apache."""
    monkeypatch.setattr(archives, "from_apache", lambda *_: None)
    return Recipe()


def test_archive_is_made_once_and_again_when_damaged(recipe: Recipe, tmp_path: Path) -> None:
    archive = Archive("spark/a/a.tgz", recipe.members)
    target = tmp_path / archive.path
    for _ in range(2):
        provide(archive, tmp_path, tmp_path, print)
    assert recipe.used == 1
    assert f"{hashlib.sha512(target.read_bytes()).hexdigest()}  a.tgz\n" == archives.checksum_file(target).read_text()
    target.write_bytes(b"damaged")
    provide(archive, tmp_path, tmp_path, print)
    assert recipe.used == 2
    assert target.read_bytes() != b"damaged"


def test_unchanged_archive_is_not_hashed_again(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive("spark/a/a.tgz", recipe.members)
    provide(archive, tmp_path, tmp_path, print)
    monkeypatch.setattr(archives.hashlib, "file_digest", lambda *_: pytest.fail("hashed"))
    assert archives.is_whole(tmp_path / archive.path)


@pytest.fixture
def apache(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What Apache's first host has, by path; the second cannot be reached."""
    files: dict[str, bytes] = {}

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        path = url.removeprefix(f"{archives.APACHE[0]}/")
        if path not in files:
            raise urllib.error.URLError("refused")
        return io.BytesIO(files[path])

    monkeypatch.setattr(archives.urllib.request, "urlopen", urlopen)
    return files


def test_archive_comes_from_apache_where_it_can(apache: dict[str, bytes], tmp_path: Path) -> None:
    recipe = Recipe()
    apache |= {"spark/a.tgz": b"x", "spark/a.tgz.sha512": f"{HASH}  a.tgz".encode()}
    provide(Archive("spark/a.tgz", recipe.members), tmp_path, tmp_path, print)
    assert (tmp_path / "spark/a.tgz").read_bytes() == b"x"
    assert recipe.used == 0


def test_wrong_archive_from_apache_is_refused(apache: dict[str, bytes], tmp_path: Path) -> None:
    apache |= {"spark/a.tgz": b"other", "spark/a.tgz.sha512": f"{HASH}  a.tgz".encode()}
    with pytest.raises(LocalEC2Error, match="not what its"):
        provide(Archive("spark/a.tgz", Recipe().members), tmp_path, tmp_path, print)
    assert not (tmp_path / "spark/a.tgz").exists()


def test_without_apache_the_recipe_is_used(apache: dict[str, bytes], tmp_path: Path) -> None:
    recipe = Recipe()
    provide(Archive("spark/a.tgz", recipe.members), tmp_path, tmp_path, print)
    assert recipe.used == 1


def test_server_sends_files_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "a.tgz").write_bytes(content)
    with Server(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{url}/a.tgz", timeout=5) as answer:
            assert answer.read() == content
        with urllib.request.urlopen(url, timeout=5) as listing:
            assert b"a.tgz" in listing.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/absent", timeout=5)
        server.shutdown()


PATH = "org/example/thing/tool/1.0/tool-1.0.jar"


def test_jars_of_the_role_have_checksums_and_coordinates() -> None:
    jars = maven.wanted()
    assert len(jars) > 30
    assert all(len(digest) == 128 for digest in jars.values())
    for path in jars:
        *_group, artifact, version, jar = path.split("/")
        assert jar == f"{artifact}-{version}.jar"


def test_coordinates_of_a_jar() -> None:
    project = maven.pom([PATH])
    assert "<groupId>org.example.thing</groupId><artifactId>tool</artifactId><version>1.0</version>" in project


@pytest.fixture
def central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served as Maven Central, with one jar."""
    folder = tmp_path / "central"
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_bytes(b"x")
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(maven, "CENTRAL", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()


def test_jars_are_fetched_once(central: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for _time in range(2):
        maven.provide({PATH: HASH}, tmp_path / "maven2", tmp_path, said.append)
    assert (tmp_path / "maven2" / PATH).read_bytes() == b"x"
    assert len(said) == 1


def test_a_jar_with_another_checksum_is_refused(central: Path, tmp_path: Path) -> None:
    (central / PATH).write_bytes(b"y")
    with pytest.raises(LocalEC2Error, match=r"tool-1\.0\.jar is not what its checksum says"):
        maven.provide({PATH: HASH}, tmp_path / "maven2", tmp_path, lambda _text: None)
