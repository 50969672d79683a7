"""Find Chromium for the browser tests, or say the one command that installs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC_APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
#: The distribution's package manager -> how it installs a headless Chromium.
_INSTALLERS = {
    "apt-get": "apt-get install -y --no-install-recommends chromium",
    "dnf": "dnf install -y chromium",
    "zypper": "zypper --non-interactive install chromium",
    "pacman": "pacman -S --noconfirm chromium",
    "apk": "apk add chromium",
    "brew": "brew install --cask chromium",
}


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome that starts, or None.

    ``COURSE_BROWSER`` names one that is not on the path.
    """
    asked = os.environ.get("COURSE_BROWSER")
    candidates = [asked] if asked else [*filter(None, map(shutil.which, _NAMES)), *_elsewhere()]
    return next((path for path in candidates if _starts(path)), None)


def chromium_command() -> str:
    """Return the one command that installs Chromium here."""
    if _is_ubuntu():
        # Ubuntu's own package is a snap, which cannot read a test's temporary directories.
        return f"{sys.executable} -m playwright install --with-deps chromium"
    for manager, command in _INSTALLERS.items():
        if shutil.which(manager):
            return command if manager == "brew" else f"sudo {command}"
    return f"{sys.executable} -m playwright install chromium"


def ensure_chromium() -> None:
    """Install Chromium if that needs no password; otherwise say how, and that tests skip."""
    if find_chromium():
        return
    command = chromium_command().split()
    if command[0] == "sudo" and _is_root():
        command = command[1:]
    allowed = _is_root() or _unattended()
    if not allowed:
        _explain()
        return
    print(f"The browser tests need Chromium: {' '.join(command)} (about a minute, 300 MB)")
    if "apt-get" in command:
        _quietly(command[: command.index("apt-get")] + ["apt-get", "update"])
    _quietly(command)
    if not find_chromium():
        _explain()


def _elsewhere() -> list[str]:
    """Applications on macOS, and what ``playwright install chromium`` has put into its cache."""
    home = Path.home()
    mac = sys.platform == "darwin"
    cache = home / ("Library/Caches/ms-playwright" if mac else ".cache/ms-playwright")
    inside = "chrome-mac*/*.app/Contents/MacOS/*" if mac else "chrome-linux*/chrome"
    found = sorted(map(str, cache.glob(f"chromium-*/{inside}")), reverse=True)
    return [*filter(os.path.exists, _MAC_APPLICATIONS), *found]


def _explain() -> None:
    print(f"No Chromium here: the browser tests will be skipped. To run them: {chromium_command()}")


def _quietly(command: list[str]) -> None:
    variables = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        for line in (done.stderr or done.stdout).strip().splitlines()[-3:]:
            print(f"  | {line}")


def _starts(path: str) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _unattended() -> bool:
    """Whether this is a CI machine on which installing needs no password."""
    if os.environ.get("CI", "").lower() not in ("1", "true"):
        return False
    if shutil.which("brew") and sys.platform == "darwin":
        return True
    return bool(shutil.which("sudo")) and _quiet_success(["sudo", "-n", "true"])


def _quiet_success(command: list[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _is_ubuntu() -> bool:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            return any(line.strip() in ("ID=ubuntu", 'ID="ubuntu"') for line in file)
    except OSError:
        return False
