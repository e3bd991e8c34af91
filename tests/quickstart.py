#!/usr/bin/env python3
"""The quick start of docs/sidecar.md, as it is printed there, with a free port and a shorter wait.

  quickstart.py HIGHWATER SCRATCH_DIRECTORY

The commands are run by bash with `highwater`, moto's server and the aws command of this Python's environment in the
path; the last of them compares the sidecar's insights with those of a scan. Every one must succeed.
"""
import os
import re
import subprocess
import sys

from sidecar import free_port


def main():
    highwater, scratch = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "docs", "sidecar.md")) as file:
        commands = re.search(r"^## A minute with moto$.*?^```sh$(.*?)^```$", file.read(), re.S | re.M)[1]
    for printed, used in [("5005", str(free_port())), ("--until-idle 60s", "--until-idle 12s")]:
        assert printed in commands, f"{printed} is not in the quick start any more"
        commands = commands.replace(printed, used)
    # Whoever types it takes a moment after the server was started.
    commands = commands.replace("&\n", "&\nsleep 4\n", 1)
    folder = os.path.join(scratch, "quickstart")
    os.makedirs(folder)
    os.symlink(os.path.join(here, "..", "notebooks-data"), os.path.join(folder, "notebooks-data"))
    path = os.pathsep.join([os.path.dirname(sys.executable), os.path.dirname(os.path.abspath(highwater)), os.environ["PATH"]])
    script = f"set -euo pipefail\ntrap 'kill %1' EXIT\n{commands}"
    ran = subprocess.run(["bash", "-c", script], cwd=folder, env=dict(os.environ, PATH=path), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr[-4_000:]
    with open(os.path.join(folder, "live.jsonl")) as file:
        told = len(file.readlines())
    assert told > 0, "a quick start that shows nothing"
    print(f"the quick start as printed: {told} insights")


if __name__ == "__main__":
    main()
