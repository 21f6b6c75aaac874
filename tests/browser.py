"""Look at a page in Chromium: python tests/browser.py PAGE FOLDER, in the environment of tests/slow.txt.

Prints, as JSON, how far the page reaches beyond each width, what the console said and what was requested; pictures go
into the folder.
"""

import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# No sandbox, since containers run as root; and nothing that Chromium asks the web on its own account.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def look(page: Path, folder: Path) -> dict[str, list[object]]:
    """Open a page as on a phone and a desk, in light and dark, and note what is wrong."""
    wrong: dict[str, list[object]] = {"overflow": [], "console": [], "requests": []}
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS) as browser,
    ):
        for width, scheme in ((390, "light"), (1280, "light"), (1280, "dark")):
            tab = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
            tab.on("console", lambda message: wrong["console"].append(message.text))
            tab.on("pageerror", lambda error: wrong["console"].append(str(error)))
            tab.on("request", lambda request: wrong["requests"].append(request.url))
            tab.goto(page.resolve().as_uri())
            beyond = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            wrong["overflow"].append(beyond)
            for name, whole in ((f"{page.stem}-{width}-{scheme}", True), (f"{page.stem}-{width}-{scheme}-top", False)):
                tab.screenshot(path=folder / f"{name}.png", full_page=whole)
    return wrong


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(Path(sys.argv[1]), Path(sys.argv[2]))))
