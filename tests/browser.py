"""Open a page in Chromium: python tests/browser.py PAGE FOLDER, in the environment of tests/slow.txt.

Prints as JSON by how much the page overflows each width, the console's messages and the requested URLs; screenshots go
into the folder.
"""

import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# Containers run as root, where Chromium needs --no-sandbox; the last two stop requests of Chromium itself.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def inspect(page: Path, folder: Path) -> dict[str, list[object]]:
    """Open a page on a phone and a desktop, in light and dark mode, and collect its problems."""
    problems: dict[str, list[object]] = {"overflow": [], "console": [], "requests": []}
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS) as browser,
    ):
        for width, scheme in ((390, "light"), (1280, "light"), (1280, "dark")):
            tab = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
            tab.on("console", lambda message: problems["console"].append(message.text))
            tab.on("pageerror", lambda error: problems["console"].append(str(error)))
            tab.on("request", lambda request: problems["requests"].append(request.url))
            tab.goto(page.resolve().as_uri())
            overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            problems["overflow"].append(overflow)
            for name, full in ((f"{page.stem}-{width}-{scheme}", True), (f"{page.stem}-{width}-{scheme}-top", False)):
                tab.screenshot(path=folder / f"{name}.png", full_page=full)
    return problems


if __name__ == "__main__":
    sys.stdout.write(json.dumps(inspect(Path(sys.argv[1]), Path(sys.argv[2]))))
