"""Usage: client.py URL CERTIFICATE < PASSWORD. Log in to Jupyter and look around; prints one line of JSON."""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlencode

URL, CERTIFICATE = sys.argv[1:3]


class Client:
    """A browser without a screen."""

    def __init__(self) -> None:
        context = ssl.create_default_context(cafile=CERTIFICATE)
        self.cookies = CookieJar()
        handlers = [urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(self.cookies)]
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Return code and content of the answer."""
        data = urlencode(form).encode() if form else None
        try:
            with self.opener.open(URL + path, data, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def log_in(self, password: str) -> int:
        """Fill in the login page."""
        self.ask("/login")
        token = next(cookie.value or "" for cookie in self.cookies if cookie.name == "_xsrf")
        return self.ask("/login", {"password": password, "_xsrf": token})[0]


def main() -> None:
    """Look around, first as a stranger."""
    stranger, client = Client(), Client()
    told = {"without_login": stranger.ask("/api/contents")[0], "wrong_password": stranger.log_in("not the password")}
    told["login"] = client.log_in(sys.stdin.read())
    kernels = json.loads(client.ask("/api/kernelspecs")[1])["kernelspecs"]
    examples = json.loads(client.ask("/api/contents/examples")[1])["content"]
    print(json.dumps({**told, "kernels": sorted(kernels), "examples": [file["name"] for file in examples]}))


if __name__ == "__main__":
    main()
