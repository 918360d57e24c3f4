"""A real browser for tests of pages: headless Chromium, controlled through its driver."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import urllib.request

import pytest

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="chromium and chromedriver are not installed",
)
_ARGUMENTS = [
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    "--hide-scrollbars",
]


class Browser:
    """A browser window, controlled with the W3C WebDriver protocol."""

    def __init__(self, address, arguments):
        self._address = f"{address}/session"
        self._profile = tempfile.mkdtemp()
        arguments = [*_ARGUMENTS, *arguments, f"--user-data-dir={self._profile}"]
        options = {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._call("", {"capabilities": {"alwaysMatch": options}})
        self._address += f"/{session['sessionId']}"

    def open(self, url, width, height, dark=False):
        """Opens a page in a window of this size, CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])
        self._call("/url", {"url": url})
        # On a busy machine the page is painted later, and unpainted text has no height.
        painted = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        self._call("/execute/async", {"script": painted, "args": []})

    def run(self, script, *arguments):
        """Runs a script in the page; returns what it returns."""
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def screenshot(self):
        """Returns the whole page as PNG, base64."""
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=True)
        return shot["data"]

    def print(self):
        """Returns the page as PDF, base64."""
        return self._call("/print", {"page": {"width": 21.0, "height": 29.7}})

    def messages(self):
        """Returns the console's messages: errors, and violations of the content security policy."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def quit(self):
        self._call("", method="DELETE")
        shutil.rmtree(self._profile, ignore_errors=True)

    def _devtools(self, command, **parameters):
        return self._call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, path, body=None, method="POST"):
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._address + path, content, method=method)
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response)["value"]


@contextlib.contextmanager
def chromium(*arguments):
    """Starts a browser with more arguments, yields it, and ends it and its driver."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        for line in driver.stdout:
            if "started successfully on port" in line:
                port = line.rstrip().rstrip(".").rsplit(" ", 1)[1]
                break
        else:
            raise RuntimeError("chromedriver did not start")
        browser = Browser(f"http://127.0.0.1:{port}", arguments)
        try:
            yield browser
        finally:
            browser.quit()
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()
