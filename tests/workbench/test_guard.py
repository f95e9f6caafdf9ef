"""Who is let in: over the real server, also from a second address of the machine."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import ROOT, Server, free_port, serving, wait_for
from workbench.guard import is_local

OTHER = "198.51.100.7"  # of the documentation's range; it exists only in the namespace that a test makes
ASK = """
import sys, urllib.error, urllib.request, socket
url, host = sys.argv[1], sys.argv[2]
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host} if host else {}), timeout=10)
    print(answer.status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


@pytest.mark.parametrize(("address", "host", "local"), [
    ("127.0.0.1", "localhost:5006", True), ("127.0.0.1", "127.0.0.1:5006", True), ("127.8.8.8", "127.0.0.1", True),
    ("::1", "[::1]:5006", True), ("::ffff:127.0.0.1", "localhost:1", True),
    ("192.0.2.9", "localhost:5006", False), ("::ffff:192.0.2.9", "localhost:5006", False),
    ("fe80::1%eth0", "localhost", False), ("127.0.0.1", "evil.example:5006", False),
    ("127.0.0.1", "localhost.evil.example", False), ("127.0.0.1", "", False), (None, "localhost", False),
    ("", "localhost", False), ("nonsense", "localhost", False),
])
def test_local_means_from_here_and_meant_for_here(address: str | None, host: str, local: bool) -> None:
    assert is_local(address, host) is local


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("guarded") / "runs") as server:
        yield server


def test_every_page_and_file_comes_with_a_policy_that_names_no_other_host(server: Server) -> None:
    for place in ("", "/static/app.js", "/static/no-such-file"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", f"/workbench{place}")
        answer = connection.getresponse()
        policy = answer.headers["Content-Security-Policy"]
        body = answer.read().decode()
        connection.close()
        assert "default-src 'self'" in policy
        assert "http" not in policy
        script = next(part for part in policy.split(";") if "script-src" in part)
        assert "unsafe" not in script
        if not place:
            nonce = script.split("'nonce-")[1].split("'")[0]
            assert body.count("<script") == body.count(f'<script nonce="{nonce}"') > 5


def test_a_foreign_name_for_this_machine_is_refused(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/workbench", headers={"Host": f"evil.example:{server.port}"})
    answer = connection.getresponse()
    assert answer.status == 403
    assert b"--basic-auth" in answer.read()
    connection.close()


def test_a_foreign_origin_gets_no_websocket(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/workbench/ws", headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Origin": "http://evil.example"})
    assert connection.getresponse().status == 403
    connection.close()


def test_opening_a_page_without_a_browser_starts_nothing(server: Server) -> None:
    urllib.request.urlopen(server.url, timeout=20).close()
    assert not server.runs.exists()  # a probe is no visitor


LOGIN = ("--basic-auth", "pw", "--cookie-secret", "s" * 32)


@pytest.mark.parametrize(("login", "outside"), [((), "403"), (LOGIN, "200")])
def test_a_second_address_of_the_machine_is_refused_without_a_login(tmp_path: Path, login: tuple[str, ...],
                                                                    outside: str) -> None:
    """The server runs in a network namespace of its own that has a second address."""
    assert shutil.which("ip"), "apt-get install iproute2"
    port = free_port()
    panel = Path(sys.executable).parent / "panel"
    serve = f"exec {panel} serve workbench --port {port} {' '.join(login)} --allow-websocket-origin '*'"
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", f"ip link set lo up; ip addr add {OTHER}/32 dev lo; {serve}"], cwd=ROOT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ZSPACE_RUNS": str(tmp_path / "runs"), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(address: str, path: str = "/workbench", host: str = "") -> str:
        done = subprocess.run(["nsenter", "--target", str(process.pid), "--net", sys.executable, "-c", ASK,
                               f"http://{address}:{port}{path}", host], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    try:
        wait_for(lambda: ask("127.0.0.1", "/workbench/static/icon.svg") or process.poll(), 60, 0.5)
        assert ask("127.0.0.1").startswith("200")
        for path in ("/workbench", "/workbench/ws", "/workbench/static/app.js", "/liveness"):
            for host in ("", "localhost"):
                answer = ask(OTHER, path, host)
                assert ("403" in answer and "--basic-auth" in answer) == (outside == "403"), f"{path} {host}: {answer}"
        assert ask(OTHER).startswith(outside)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_half_a_login_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "panel"), "serve", "workbench", "--port", str(free_port()), *LOGIN[:2]],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "ZSPACE_RUNS": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode != 0
    assert "add --cookie-secret" in done.stderr + done.stdout


def test_it_starts_for_developers_too(tmp_path: Path) -> None:
    """`--dev` watches the app's folder and loads it once more on a change."""
    with serving(tmp_path / "runs", "--dev") as server:
        page = urllib.request.urlopen(server.url, timeout=20).read().decode()
    assert "Z-space workbench" in page
