"""A real browser, headless Chromium, by way of its driver: for tests of pages."""

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
    """One page at a time, of a size; methods are those of the WebDriver standard."""

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
        """Opens a page as a screen of so many CSS pixels shows it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])
        self._call("/url", {"url": url})
        # Until it is painted, which on a busy machine may be later, words have no height.
        painted = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        self._call("/execute/async", {"script": painted, "args": []})

    def run(self, script, *arguments):
        """Returns what a script in the page returns."""
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def screenshot(self):
        """Returns the whole page as PNG, base64."""
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=True)
        return shot["data"]

    def print(self):
        """Returns the page as PDF, base64."""
        return self._call("/print", {"page": {"width": 21.0, "height": 29.7}})

    def messages(self):
        """Returns what the browser's console has said: errors, what the page's policy refused."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def quit(self):
        self._call("", method="DELETE")
        shutil.rmtree(self._profile, ignore_errors=True)

    def _devtools(self, command, **parameters):
        return self._call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, path, body=None, method="POST"):
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._address + path, content, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]


@contextlib.contextmanager
def chromium(*arguments):
    """Yields a browser, started with more arguments; ends it and its driver."""
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
