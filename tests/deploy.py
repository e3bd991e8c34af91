#!/usr/bin/env python3
"""Checks what is in deploy/: each file by the tool that will read it, where that is installed, and by a parser.

  deploy.py DIRECTORY SCRATCH_DIRECTORY
"""
import os
import shutil
import subprocess
import sys

import yaml


def main():
    deploy, scratch = sys.argv[1:]
    with open(os.path.join(deploy, "prometheus-rules.yaml")) as file:
        rules = [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]
    with open("src/status.rs") as file:
        source = file.read()
    for rule in rules:
        assert rule["annotations"]["summary"] and rule["labels"]["severity"], rule
        names = {word for word in rule["expr"].replace("(", " ").replace("{", " ").replace(")", " ").split()}
        for name in (name for name in names if name.startswith("highwater_")):
            metric = name.split("[")[0].removeprefix("highwater_").removesuffix("_total")
            assert f'"{metric}"' in source, f"{rule['alert']}: there is no metric {name}"
    with open(os.path.join(deploy, "kubernetes.yaml")) as file:
        kinds = [document["kind"] for document in yaml.safe_load_all(file)]
    assert kinds == ["ServiceAccount", "PersistentVolumeClaim", "Deployment"], kinds
    unit = os.path.join(scratch, "highwater.service")
    with open(os.path.join(deploy, "highwater.service")) as file:
        text = file.read()
    with open(unit, "w") as file:
        # The program need not be installed to check its unit.
        file.write(text.replace("/usr/local/bin/highwater", shutil.which("true")))
    checks = [
        ("systemd-analyze", ["verify", "--man=no", unit]),
        ("terraform", ["fmt", "-check", "-diff", os.path.join(deploy, "terraform")]),
    ]
    for tool, arguments in checks:
        if shutil.which(tool) is None:
            print(f"{tool} is not installed: parsed only")
            continue
        checked = subprocess.run([tool, *arguments], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        print(f"{tool}: fine")
    print(f"{len(rules)} alerts on metrics that exist")


if __name__ == "__main__":
    main()
