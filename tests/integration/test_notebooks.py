"""What the data scientist sees: JupyterLab in a browser, over TLS and through SSH, with notebooks on the cluster."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from spark_cluster import WORKERS, SparkCluster, until

PORT = 8888
ROWS = "10000000"
# Where pictures go, for the documentation: `make pictures`.
PICTURES = os.environ.get("SPARKFLEET_PICTURES")
SECONDS = 180_000


@dataclass
class Jupyter:
    """JupyterLab of a cluster: where it is, its certificate, and the password that was made up for it."""

    cluster: SparkCluster
    address: str
    certificate: str
    password: str

    @property
    def url(self) -> str:
        """Where a browser goes."""
        return f"https://{self.address}:{PORT}"

    def connection(self) -> http.client.HTTPSConnection:
        """Return a connection that trusts that one certificate, and only for a name or an address that it has."""
        context = ssl.create_default_context(cadata=self.certificate)
        return http.client.HTTPSConnection(self.address, PORT, context=context, timeout=90)

    def log_in(self, password: str) -> tuple[int, dict[str, str]]:
        """Try a password, as the login page does; return the answer's code and the cookies that it sets."""
        connection = self.connection()
        connection.request("GET", "/login")
        page = connection.getresponse()
        cookies = cookies_of(page)
        page.read()
        form = urlencode({"password": password, "_xsrf": cookies["_xsrf"]})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": header(cookies)}
        connection.request("POST", "/login", form, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, {**cookies, **cookies_of(answer)}

    def get(self, path: str, cookies: dict[str, str]) -> tuple[int, bytes]:
        """Ask for a path with the cookies of a login; return code and content."""
        connection = self.connection()
        connection.request("GET", path, headers={"Cookie": header(cookies)})
        answer = connection.getresponse()
        return answer.status, answer.read()


def cookies_of(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Return the cookies that an answer sets."""
    set_cookies = answer.headers.get_all("Set-Cookie") or []
    return dict(text.split(";", 1)[0].split("=", 1) for text in set_cookies)


def header(cookies: dict[str, str]) -> str:
    """Return what a browser sends of its cookies."""
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


@pytest.fixture(scope="module")
def jupyter(spark_cluster: SparkCluster) -> Iterator[Jupyter]:
    """The cluster's JupyterLab; in the end nothing runs in it any more."""
    address = spark_cluster.instances()["master"]["PublicIpAddress"]
    certificate = spark_cluster.ssh("master", "sudo cat /var/lib/web/tls/certificate.pem")
    password = spark_cluster.user.home / spark_cluster.name / "web_password"
    assert password.stat().st_mode & 0o777 == 0o600
    yield Jupyter(spark_cluster, address, certificate, password.read_text().strip())
    spark_cluster.ssh("master", "sudo systemctl restart jupyter")
    until(lambda: not spark_cluster.state()["activeapps"], 60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The distribution's Chromium, without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has no cookies yet, whose user goes on when it warns of the certificate."""
    # As high as a notebook is long: cells that are out of sight are not there.
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 3000})
    context.set_default_timeout(SECONDS)
    yield context
    context.close()


def picture(page: Page, name: str) -> None:
    """Keep the upper part of what the page shows, where pictures are wanted."""
    if PICTURES:
        part = {"x": 0, "y": 0, "width": 1280, "height": 1000}
        page.screenshot(path=Path(PICTURES) / f"{name}.png", clip=part)


def enter(page: Page, url: str, password: str) -> None:
    """Log in as a user does."""
    page.goto(url)
    page.fill("input[name=password]", password)
    page.click("#login_submit")


def run_all_cells(page: Page, url: str) -> None:
    """Open a notebook and run it from top to bottom."""
    page.goto(url)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    # What is to be run before there is a kernel is not run.
    page.get_by_text("PySpark | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


@contextmanager
def pages_of(cluster: SparkCluster) -> Iterator[str]:
    """Bring the cluster's pages to this machine for a while, as `connect` does; yields what it prints."""
    folder = cluster.user.home / cluster.name
    try:
        yield cluster.user.play("playbooks/connect.yml", "-e", f"cluster={cluster.name}", "-e", "open=yes")
    finally:
        ended = cluster.user.run("ssh", "-F", "ssh_config", "-S", "session", "-O", "exit", "master", cwd=folder)
        assert ended.returncode == 0, ended.stdout


def test_certificate_has_the_names_and_only_new_tls_is_spoken(jupyter: Jupyter) -> None:
    """Who knows the certificate needs no exception for it; TLS 1.1 and plain HTTP get nothing."""
    connection = jupyter.connection()
    connection.request("GET", "/login")
    assert connection.getresponse().status == 200
    assert connection.sock.version() in {"TLSv1.2", "TLSv1.3"}
    old = ssl.create_default_context(cadata=jupyter.certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        http.client.HTTPSConnection(jupyter.address, PORT, context=old, timeout=20).connect()
    plain = http.client.HTTPConnection(jupyter.address, PORT, timeout=20)
    plain.request("GET", "/lab")
    answer = plain.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"{jupyter.url}/lab")


def test_notebook_runs_on_the_cluster(jupyter: Jupyter, context: BrowserContext) -> None:
    """Log in, run an example from top to bottom; the workers count right, and Spark's own pages show it."""
    page = context.new_page()
    enter(page, jupyter.url, jupyter.password)
    page.wait_for_url("**/lab**")
    run_all_cells(page, f"{jupyter.url}/lab/tree/examples/first_steps.ipynb")
    page.locator(".jp-OutputArea-output", has_text=re.compile(rf"^\s*{ROWS}\s*$")).wait_for()
    link = page.locator(".jp-OutputArea-output a", has_text="Spark UI").get_attribute("href") or ""
    assert (found := re.fullmatch(r"http://localhost:8080/proxy/(app-\d+-\d+)/", link)), link
    page.get_by_text("PySpark | Idle").wait_for()
    picture(page, "jupyter")
    with pages_of(jupyter.cluster) as printed:
        for url in ("http://localhost:8080/", "http://localhost:18080/", "http://localhost:9870/"):
            assert url in printed
        application = context.new_page()
        application.goto(link)
        application.get_by_text("notebook of jupyter").first.wait_for()
        # Of the table; the timeline above it has the same words, hidden.
        application.locator("td", has_text="countByValue at ").first.wait_for()
        picture(application, "spark")
        namenode = context.new_page()
        namenode.goto("http://localhost:9870/dfshealth.html#tab-datanode")
        namenode.get_by_text("In service").first.wait_for()
        picture(namenode, "hdfs")
    assert found[1] in str(jupyter.cluster.state()["activeapps"])


def test_ganglia_shows_every_node(jupyter: Jupyter, browser: Browser) -> None:
    """By the same way in and the same password; without it nothing is shown."""
    assert jupyter.get("/ganglia/", {})[0] == 401
    credentials = {"username": "ganglia", "password": jupyter.password}
    context = browser.new_context(
        ignore_https_errors=True, viewport={"width": 1280, "height": 1000}, http_credentials=credentials
    )
    page = context.new_page()
    page.goto(f"{jupyter.url}/ganglia/?c={jupyter.cluster.name}&m=load_one&r=hour&s=by%20name&hc=4&mc=2")
    names = ["master", *(f"worker-{jupyter.cluster.instances()[host]['PrivateIpAddress']}" for host in WORKERS)]
    for name in names:
        assert page.locator(f"a[href*='h={name}']").count() >= 1, page.content()
    page.wait_for_load_state("networkidle")
    picture(page, "ganglia")
    context.close()


def test_idle_notebook_gives_its_executors_back(jupyter: Jupyter) -> None:
    """The notebook of the test before is open still; after a minute no core is taken."""
    until(lambda: jupyter.cluster.state()["coresused"] == 0, 120)
    assert jupyter.cluster.state()["activeapps"]


def test_wrong_password_is_refused_and_repeated_ones_are_slowed(jupyter: Jupyter) -> None:
    """A few wrong ones take longer each time; many at once are turned away."""
    start = time.monotonic()
    for _try in range(3):
        status, cookies = jupyter.log_in("not the password")
        assert status == 401
        assert jupyter.get("/api/contents", cookies)[0] == 403
    assert time.monotonic() - start > 8
    with ThreadPoolExecutor(10) as pool:
        codes = [status for status, _cookies in pool.map(jupyter.log_in, ["nor this"] * 10)]
    assert codes.count(429) >= 4, codes
    assert set(codes) == {401, 429}


def test_killed_server_comes_back(jupyter: Jupyter) -> None:
    """Jupyter and nginx, and files are there as they were."""
    for unit in ("jupyter", "web"):
        before = jupyter.cluster.ssh("master", f"systemctl show -P MainPID {unit}")
        jupyter.cluster.ssh("master", f"sudo systemctl kill --signal=KILL --kill-whom=main {unit}")
        until(lambda unit=unit, before=before: came_back(jupyter.cluster, unit, before), 30)
    assert "first_steps.ipynb" in jupyter.cluster.ssh("master", "sudo ls /home/jupyter/notebooks/examples")


def came_back(cluster: SparkCluster, unit: str, before: str) -> bool:
    """Tell whether a unit runs by another process than it did."""
    look = f"echo $(systemctl is-active {unit}) $(systemctl show -P MainPID {unit})"
    state, pid = cluster.ssh("master", look).split()
    return state == "active" and pid != before.strip()


def test_nobody_sees_the_password(jupyter: Jupyter) -> None:
    """Not in a process list, a journal, a file of the master or what Ansible prints; nor is there a token."""
    # As a pattern of which the command line itself is no match.
    hidden = f"[{jupyter.password[0]}]{jupyter.password[1:]}"
    processes, journal = f"ps -eo args | grep -c '{hidden}'", f"sudo journalctl --no-pager | grep -c '{hidden}'"
    files = f"sudo grep -rIl '{hidden}' /etc /var /run /home /tmp /opt/jupyter/"
    assert jupyter.cluster.ssh("master", f"{processes}; {journal}; {files}; true").split() == ["0", "0"]
    assert jupyter.password not in (jupyter.cluster.folder / "launch.log").read_text()
    assert "token=" not in jupyter.cluster.ssh("master", "sudo journalctl --no-pager -u jupyter")
    modes = jupyter.cluster.ssh(
        "master", "sudo stat -c '%a %U %G' /etc/web/argon2 /etc/web/htpasswd /var/lib/web/tls/key.pem"
    )
    assert modes.splitlines() == ["640 root web"] * 3
    assert jupyter.cluster.ssh("master", "id -nG jupyter").split() == ["jupyter", "spark"]


def test_switch_to_the_tunnel_and_back(jupyter: Jupyter, context: BrowserContext) -> None:
    """A re-run closes the port and opens the way through SSH; what runs in notebooks goes on."""
    status, cookies = until(lambda: logged_in(jupyter), 60)
    assert status == 302
    connection = jupyter.connection()
    start = {"Cookie": header(cookies), "X-XSRFToken": cookies["_xsrf"], "Content-Type": "application/json"}
    connection.request("POST", "/api/kernels", json.dumps({"name": "pyspark"}), start)
    kernel = json.loads(connection.getresponse().read())["id"]

    printed = jupyter.cluster.play("-e", "jupyter_access=tunnel")
    assert "http://localhost:8888/" in printed
    with pytest.raises(OSError, match=r"timed out|refused"):
        http.client.HTTPConnection(jupyter.address, PORT, timeout=3).connect()
    with pages_of(jupyter.cluster) as said:
        assert "http://localhost:8888/" in said
        page = context.new_page()
        enter(page, f"http://localhost:{PORT}/lab/tree/examples/first_steps.ipynb", jupyter.password)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        kernels = page.request.get(f"http://localhost:{PORT}/api/kernels").json()
        assert kernel in {one["id"] for one in kernels}

    jupyter.cluster.play()
    status, content = jupyter.get("/api/kernels", cookies)
    assert status == 200
    assert kernel in {one["id"] for one in json.loads(content)}


def logged_in(jupyter: Jupyter) -> tuple[int, dict[str, str]] | None:
    """Log in with the right password; nothing as long as too many have been tried."""
    answer = jupyter.log_in(jupyter.password)
    return None if answer[0] == 429 else answer
