"""Headless Chromium over its own debugging pipe: no driver, no package.

Used by tests, and to look: `python tests/report/browser.py runs/demo/report.html shots` takes the page at two widths.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Chromium reads commands from file 3 and answers on file 4; a child of its own puts our pipes there.
_LAUNCH = """
import fcntl, os, sys
for number, pipe in enumerate([fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]], start=3):
    os.dup2(pipe, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_PATIENCE = 60  # seconds without a word from the browser


def find_chromium() -> str | None:
    """Where a Chromium is, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page; `with Browser(path) as browser`."""

    def __init__(self, executable: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="mdmf-browser-", ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(commands), str(answers), executable, *flags],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._n_sent, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._commands)  # Chromium ends when its pipe does
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer; events are kept in `events`."""
        self._n_sent += 1
        message: dict[str, Any] = {"id": self._n_sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != self._n_sent:
                self.events.append(answer)
                continue
            assert "error" not in answer, answer
            return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], _PATIENCE)[0], "Chromium does not answer"
            part = os.read(self._answers, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, page: Path, *, width: int, dark: bool = False) -> None:
        """Show a file at a width in CSS pixels, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def complaints(self) -> list[str]:
        """What the browser logged as an error or a warning since the page was opened, and failed requests."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            match event.get("method"):
                case "Log.entryAdded":
                    found.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")
                case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Network.loadingFailed":
                    found.append(json.dumps(parameters)[:300])
        return found

    def requested(self) -> list[str]:
        """Addresses that were asked for since the page was opened, pictures in the page left out."""
        urls = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def press(self, key: str) -> None:
        """Press a key such as `Tab` or `Enter`."""
        codes = {"Tab": 9, "Enter": 13}
        for kind in ("rawKeyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "rawKeyDown" else {}
            more = {"windowsVirtualKeyCode": codes[key], **text}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else kind, key=key, code=key, **more)

    def screenshot(self, file: Path, *, top: float = 0, height: float | None = None) -> None:
        """A PNG of the page, or of a part of its height."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"] - top, "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(taken["data"]))


def main() -> None:
    """Screenshots of a page, wide and on a phone, light and dark."""
    page, out = Path(sys.argv[1]), Path(sys.argv[2])
    executable = find_chromium()
    if executable is None:
        raise SystemExit(f"no browser found; install one of {', '.join(NAMES)}")
    out.mkdir(parents=True, exist_ok=True)
    for width in (1280, 390):
        for dark in (False, True):
            with Browser(executable) as browser:
                browser.open(page, width=width, dark=dark)
                file = out / f"{page.stem}_{width}_{'dark' if dark else 'light'}.png"
                browser.screenshot(file)
                print(f"{file}: {', '.join(browser.complaints()) or 'no complaints'}")


if __name__ == "__main__":
    main()
