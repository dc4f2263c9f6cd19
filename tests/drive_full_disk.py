"""Runs a module on a disk that is too small, then on the same disk with more room.

``unshare --map-root-user --mount python -m tests.drive_full_disk STORE BYTES MODULE ARGUMENT...``:
STORE becomes a file system of that size. Prints what the first run said, then the last word of the
second, which is a digest.
"""

import subprocess
import sys


def main(store: str, size: int, *module: str) -> None:
    _mount(store, f"size={size}")
    command = [sys.executable, "-m", *module]
    full = subprocess.run(command, capture_output=True, text=True, timeout=200)
    print(full.returncode, " ".join(full.stderr.split()))
    _mount(store, "remount,size=1g")
    again = subprocess.run(command, capture_output=True, text=True, timeout=200)
    print(again.stdout.split()[-1] if again.returncode == 0 else again.stderr)


def _mount(store: str, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", store], check=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
