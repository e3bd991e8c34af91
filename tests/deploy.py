#!/usr/bin/env python3
"""Checks what is in deploy/: each file by the tool that will read it, where that is installed, and by a parser.

  deploy.py DIRECTORY SCRATCH_DIRECTORY
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import yaml


def lookup(path, context):
    """`.Values.a.b`, or `.` within a range."""
    value = context
    for name in path.strip(".").split(".") if path != "." else []:
        value = value[name]
    return context["."] if path == "." else value


def evaluate(text, context):
    """An expression of a template: a value and the few functions that ours use."""
    value = None
    for part in text.split(" | "):
        words = re.findall(r'"[^"]*"|\S+', part)
        if words[0].startswith("."):
            value = lookup(words[0], context)
        elif words[0] == "printf":
            value = words[1].strip('"').replace("%s", str(lookup(words[2], context)))
        elif words[0] == "default":
            value = value or lookup(words[1], context)
        else:
            functions = {
                "quote": json.dumps,
                "toJson": json.dumps,
                "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
            }
            value = functions[words[0]](value)
    return value


def rendered(tokens, context, shown=True):
    """What helm makes of `if`, `range`, `end` and expressions, up to the end of the block."""
    out = ""
    while tokens:
        text, action = tokens.pop(0)
        out += text
        word, _, rest = (action or "").partition(" ")
        if action is None:
            continue
        if word == "end":
            return out
        if word == "if":
            inner = rendered(tokens, context, shown and bool(evaluate(rest, context)))
            out += inner if shown and evaluate(rest, context) else ""
        elif word == "range":
            body = list(tokens)
            rendered(tokens, context, False)
            for item in evaluate(rest, context) if shown else []:
                out += rendered(list(body), dict(context, **{".": item}))
        elif shown:
            out += str(evaluate(action, context))
    return out


def render(path, context):
    with open(path) as file:
        parts = re.split(r"(?:\s*\{\{-|\{\{)\s*(.*?)\s*(?:-\}\}\s*|\}\})", file.read())
    tokens = [(parts[at], parts[at + 1] if at + 1 < len(parts) else None) for at in range(0, len(parts), 2)]
    return yaml.safe_load(rendered(tokens, context))


def chart(root):
    """The documents of the chart with its own values, and with everything turned on."""
    with open(os.path.join(root, "values.yaml")) as file:
        values = yaml.safe_load(file)
    with open(os.path.join(root, "Chart.yaml")) as file:
        about = yaml.safe_load(file)
    more = json.loads(json.dumps(values))
    more["sqs"], more["s3"], more["args"] = ["https://q/1", "https://q/2"], ["s3://b/x"], ["--lateness=1h"]
    more["serviceAccount"]["roleArn"], more["podMonitor"], more["existingSecret"] = "arn:x", True, "keys"
    more["persistence"]["storageClass"], more["config"] = "fast", 'preset = "x"\n# "quoted"\n'
    versions = []
    for chosen in (values, more):
        context = {"Values": chosen, "Release": {"Name": "r"}, "Chart": {"AppVersion": str(about["appVersion"])}}
        templates = os.path.join(root, "templates")
        documents = [render(os.path.join(templates, name), context) for name in sorted(os.listdir(templates))]
        versions.append({document["kind"]: document for document in documents if document})
    plain, full = versions
    assert set(full) - set(plain) == {"PodMonitor"}, (set(full), set(plain))
    pod = full["StatefulSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert {"--sqs=https://q/1", "--sqs=https://q/2", "--s3=s3://b/x", "--lateness=1h"} <= set(container["args"])
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert full["ServiceAccount"]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == "arn:x"
    assert full["ConfigMap"]["data"]["highwater.toml"] == more["config"]
    assert plain["StatefulSet"]["spec"]["replicas"] == 1, "a state directory has one writer"
    return sorted(full)


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
    with open(os.path.join(deploy, "grafana-dashboard.json")) as file:
        panels = json.load(file)["panels"]
    for panel in panels:
        for name in set(re.findall(r"highwater_[a-z_]+", " ".join(target["expr"] for target in panel["targets"]))):
            metric = name.removeprefix("highwater_").removesuffix("_total")
            assert f'"{metric}"' in source, f"{panel['title']}: there is no metric {name}"
    kinds = chart(os.path.join(deploy, "helm", "highwater"))
    print(f"chart: {', '.join(kinds)}; dashboard: {len(panels)} panels on metrics that exist")
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
        ("helm", ["lint", "--strict", os.path.join(deploy, "helm", "highwater")]),
        ("helm", ["template", "--set", "podMonitor=true", "r", os.path.join(deploy, "helm", "highwater")]),
        ("promtool", ["check", "rules", os.path.join(deploy, "prometheus-rules.yaml")]),
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
