#!/usr/bin/env python3
"""Checks what is in deploy/ by the tools that will read it: Helm's engine, the schemas of Kubernetes, a parser of HCL
and hadolint always; promtool, systemd-analyze and terraform where they are installed. Then what no tool knows: that
these files agree with each other, with the program and with docs/sidecar.md. Run it in the root of the repository.

  deploy.py DIRECTORY SCRATCH_DIRECTORY
"""
import configparser
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import hcl2
import helm_python
import kubernetes_validate
import yaml
from hcl2.utils import SerializationOptions

WARNING = 2
# The user of distroless's images without root.
NONROOT = 65532
# A custom resource, whose schema is not among those of Kubernetes.
PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
# Debian's releases by name and as distroless counts them: the program needs the C library that it was linked with.
DEBIAN = {"bookworm": "debian12", "trixie": "debian13"}
# What may be asked of resources and data, for want of the provider's schema.
ATTRIBUTES = {
    "aws_iam_policy_document": {"json"},
    "aws_iam_role": {"arn", "id", "name"},
    "aws_partition": {"partition"},
    "aws_sqs_queue": {"arn", "id", "url"},
    "aws_sqs_queue_policy": {"id"},
}


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def run(tool, *arguments):
    checked = subprocess.run([tool, *arguments], capture_output=True, text=True)
    assert checked.returncode == 0, f"{tool}: {checked.stdout}{checked.stderr}"


def table(text, heading):
    """The cells of the table that follows this line."""
    rows = text.split(heading + "\n\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def check_flags(words):
    """Each flag of `watch` is one."""
    source = read("src/cli/watch.rs") + read("src/cli/settings.rs")
    for flag in re.findall(r"--([a-z0-9-]+)", " ".join(words)):
        assert re.search(rf"^    (pub\S* )?{flag.replace('-', '_')}: ", source, re.M), f"there is no flag --{flag}"


def check_manifest(document):
    """By the oldest and by the newest schemas that there are."""
    if document["apiVersion"] == PROMETHEUS_OPERATOR:
        spec = document["spec"]
        assert set(spec) == {"selector", "podMetricsEndpoints"} and spec["selector"]["matchLabels"], document
        assert spec["podMetricsEndpoints"] == [{"port": "status", "path": "/metrics"}], document
        return
    versions = kubernetes_validate.utils.all_versions()
    for version in (versions[0], versions[-1]):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(step) for step in error.path)
            raise AssertionError(f"{document['kind']}, Kubernetes {version}: {place}: {error.message}") from None
        except kubernetes_validate.SchemaNotFoundError as error:
            raise AssertionError(error.message) from None


def check_workload(workload, version):
    """A Deployment or StatefulSet that runs the sidecar. The port on which it is asked how it is."""
    spec = workload["spec"]
    assert spec["replicas"] == 1, "a state directory has one writer"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items(), "selects no pod"
    pod = spec["template"]["spec"]
    container, = pod["containers"]
    security = pod["securityContext"]
    assert security["runAsNonRoot"] and security["seccompProfile"]["type"] == "RuntimeDefault", security
    ids = {security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")}
    assert ids == {NONROOT}, ids
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["capabilities"] == {"drop": ["ALL"]}, security
    assert security["allowPrivilegeEscalation"] is False, security
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False, pod
    # The program itself takes up to fifteen seconds for its last words.
    assert pod["terminationGracePeriodSeconds"] >= 30, pod
    assert container["resources"]["requests"] and container["resources"]["limits"]["memory"], container["resources"]
    port, = container["ports"]
    assert f"--status=0.0.0.0:{port['containerPort']}" in container["args"], container["args"]
    routes = read("src/http.rs")
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}, container[probe]
        assert f'"{path}"' in routes, f"nothing is served at {path}"
    assert container["args"][0] == "watch", container["args"]
    check_flags(container["args"])
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == volumes, f"mounted are {set(mounts)} of {volumes}"
    assert f"--state={mounts['state']}" in container["args"], container["args"]
    assert container["image"].split(":")[1] == version, f"{container['image']}, but Cargo.toml has version {version}"
    return port["containerPort"]


def render(chart, values, name):
    """The documents that the chart makes, by kind."""
    files = chart.render(values, name=name, namespace="watch").values()
    documents = [document for file in files for document in yaml.safe_load_all(file) if document]
    for document in documents:
        assert document["metadata"]["name"] == name, document["metadata"]
        check_manifest(document)
    kinds = {document["kind"]: document for document in documents}
    assert len(kinds) == len(documents), "two of a kind"
    workload = kinds["StatefulSet"]
    selector = workload["spec"]["selector"]["matchLabels"]
    assert kinds["Service"]["spec"]["selector"] == selector, "Service: selects other pods"
    for kind, key in (("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")):
        assert kind not in kinds or kinds[kind]["spec"][key]["matchLabels"] == selector, f"{kind}: selects other pods"
    port = check_workload(workload, chart.metadata["appVersion"])
    ports = kinds["Service"]["spec"]["ports"]
    assert ports == [{"name": "status", "port": port, "targetPort": "status"}], ports
    pod = workload["spec"]["template"]["spec"]
    assert workload["spec"]["serviceName"] == pod["serviceAccountName"] == name, workload["spec"]
    assert {"name": "config", "configMap": {"name": name}} in pod["volumes"], pod["volumes"]
    return kinds


def check_chart(root, version):
    everything = {
        "sqs": ["https://q/1", "https://q/2"],
        "s3": ["s3://b/x"],
        "args": ["--lateness=1h"],
        "config": 'preset = "x"\n# "quoted", {{ braced }}\n',
        "existingSecret": "keys",
        "serviceAccount": {"roleArn": "arn:x"},
        "persistence": {"storageClass": "fast", "size": "1Ti"},
        "resources": {"limits": {"cpu": 2}},
        "podMonitor": True,
        "networkPolicy": {
            "metricsFrom": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
            "egressPorts": [443, 587],
        },
    }
    without_policy = {"networkPolicy": {"enabled": False}, "sqs": ["https://q/1"]}
    for values in ({}, everything, without_policy):
        told = helm_python.lint(root, values, strict=True)
        worse = [message for message in told["messages"] if message["severity"] >= WARNING]
        assert not worse and not told["errors"], f"helm lint: {worse or told}"
    chart = helm_python.Chart.load(root)
    assert chart.metadata["appVersion"] == version, f"the chart is for {chart.metadata['appVersion']}, not {version}"
    plain = render(chart, {}, "trail")
    # A name that is no text in YAML unless it is quoted.
    full = render(chart, everything, "on")
    # A disruption budget for the one replica would do nothing but keep nodes from being emptied.
    kinds = {"ConfigMap", "NetworkPolicy", "Service", "ServiceAccount", "StatefulSet"}
    assert set(plain) == kinds and set(full) == kinds | {"PodMonitor"}, (set(plain), set(full))
    assert set(render(chart, without_policy, "trail")) == kinds - {"NetworkPolicy"}

    container = full["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-4:] == ["--sqs=https://q/1", "--sqs=https://q/2", "--s3=s3://b/x", "--lateness=1h"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}], container
    assert container["resources"]["limits"] == {"memory": "1Gi", "cpu": 2}, container["resources"]
    assert full["ServiceAccount"]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == "arn:x"
    assert full["ConfigMap"]["data"]["highwater.toml"] == everything["config"], full["ConfigMap"]
    claim = full["StatefulSet"]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "1Ti"), claim
    sums = [kinds["StatefulSet"]["spec"]["template"]["metadata"]["annotations"] for kinds in (plain, full)]
    assert sums[0] != sums[1], "a new configuration does not start the pod again"
    chosen = everything["networkPolicy"]
    for kinds, ports, namespaces in ((plain, [443], {}), (full, chosen["egressPorts"], chosen["metricsFrom"])):
        policy = kinds["NetworkPolicy"]["spec"]
        metrics, = policy["ingress"]
        assert metrics == {"from": [{"namespaceSelector": namespaces}], "ports": [{"port": "status"}]}, policy
        anywhere, credentials = policy["egress"]
        names = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
        assert anywhere == {"ports": names + [{"port": port, "protocol": "TCP"} for port in ports]}, policy
        assert credentials["to"] and credentials["ports"] == [{"port": 80, "protocol": "TCP"}], policy

    misspelt = [
        ({"sqz": ["https://q/1"]}, "sqz"),
        ({"sqs": "https://q/1"}, "/sqs"),
        ({"persistence": {"storageclass": "fast"}}, "storageclass"),
        ({"image": {"tag": 1}}, "/image/tag"),
        ({"networkPolicy": {"metricsFrom": {"team": "x"}}}, "team"),
        ({"podMonitor": "false"}, "/podMonitor"),
    ]
    for values, told in misspelt:
        try:
            chart.render(values, name="trail")
        except helm_python.HelmValuesError as error:
            assert told in str(error), f"{values}: {error}"
        else:
            raise AssertionError(f"{values} is not refused")
    for expression in re.findall(r"--set '?([^'\s]+)", read("docs/sidecar.md")):
        chart.validate_schema(helm_python.parse_set_string(expression))
    print(f"Helm {helm_python.helm_sdk_version()}: {', '.join(sorted(full))}, which Kubernetes' schemas allow")
    return full["Service"]["spec"]["ports"][0]["port"]


def check_kubernetes(path, version):
    documents = list(yaml.safe_load_all(read(path)))
    for document in documents:
        check_manifest(document)
    kinds = {document["kind"]: document for document in documents}
    assert list(kinds) == ["ServiceAccount", "PersistentVolumeClaim", "Deployment"], list(kinds)
    deployment = kinds["Deployment"]
    port = check_workload(deployment, version)
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}, "a state directory has one writer"
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert template["spec"]["serviceAccountName"] == kinds["ServiceAccount"]["metadata"]["name"]
    claim = template["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == kinds["PersistentVolumeClaim"]["metadata"]["name"], claim
    print("kubernetes.yaml: allowed by the schemas")
    return port


def named(blocks, prefix=""):
    """Blocks of one kind with two labels: type and name."""
    kinds = [pair for block in blocks for pair in block.items()]
    return {f"{prefix}{kind}.{name}": body for kind, bodies in kinds for name, body in bodies.items()}


def expressions(value):
    """What stands in ${} anywhere within."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [expression for item in value for expression in expressions(item)]
    return re.findall(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}", value) if isinstance(value, str) else []


def check_references(module, text):
    """Everything that is named is defined, and what is defined for others to name is used."""
    blocks = {**named(module["resource"]), **named(module["data"], "data.")}
    inputs = {f"var.{name}" for block in module["variable"] for name in block}
    inputs |= {f"local.{name}" for block in module["locals"] for name in block}
    iterators = set(re.findall(r'dynamic "(\w+)"', text))
    used = set()
    for reference in re.findall(r"[a-z_]\w*(?:\.\w+)+", " ".join(expressions(module))):
        parts = reference.split(".")
        depth = 3 if parts[0] == "data" else 2
        target, rest = ".".join(parts[:depth]), parts[depth:]
        used.add(target)
        if target in blocks:
            kind = parts[depth - 2]
            assert not rest or rest[0] in ATTRIBUTES.get(kind, ()), f"{reference}: has {kind} {rest[0]}? If so, list it"
        else:
            known = target in inputs or (parts[0] in iterators and parts[1] in ("key", "value"))
            assert known, f"{reference} is not defined"
    for name in inputs | {name for name in blocks if name.startswith("data.")}:
        assert name in used, f"{name} is defined and not used"
    for block in module["variable"] + module["output"]:
        for name, body in block.items():
            assert body.get("description"), f"{name} is not described"


def check_terraform(root):
    plainly = SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
    text = "\n".join(read(path) for path in sorted(glob.glob(os.path.join(root, "*.tf"))))
    module = hcl2.loads(text, serialization_options=plainly)
    check_references(module, text)
    resources, data = named(module["resource"]), named(module["data"])
    assert sorted(resources) == [
        "aws_iam_role.highwater",
        "aws_iam_role_policy.read",
        "aws_s3_bucket_notification.trail",
        "aws_sqs_queue.dead_letters",
        "aws_sqs_queue.trail",
        "aws_sqs_queue_policy.trail",
    ], sorted(resources)

    queue, dead_letters = resources["aws_sqs_queue.trail"], resources["aws_sqs_queue.dead_letters"]
    redrive = queue.get("redrive_policy", "there is no redrive policy")
    assert "deadLetterTargetArn = aws_sqs_queue.dead_letters.arn" in redrive, redrive
    assert int(re.search(r"maxReceiveCount = (\d+)", redrive)[1]) > 1, redrive
    # A message keeps the age that it had.
    assert dead_letters["message_retention_seconds"] >= queue["message_retention_seconds"]
    notification = resources["aws_s3_bucket_notification.trail"]
    announced, = notification["queue"]
    assert announced["queue_arn"] == "${aws_sqs_queue.trail.arn}", announced
    assert announced["events"] == ["s3:ObjectCreated:*"] and announced["filter_suffix"] == ".json.gz", announced
    assert notification["depends_on"] == ["${aws_sqs_queue_policy.trail}"], "S3 tries the queue at once"
    policy = resources["aws_sqs_queue_policy.trail"]
    assert policy["queue_url"] == "${aws_sqs_queue.trail.url}", policy
    assert policy["policy"] == "${data.aws_iam_policy_document.announce.json}", policy
    announce, = data["aws_iam_policy_document.announce"]["statement"]
    assert announce["actions"] == ["sqs:SendMessage"], announce
    assert announce["principals"] == [{"type": "Service", "identifiers": ["s3.amazonaws.com"]}], announce
    bucket = {"test": "ArnEquals", "variable": "aws:SourceArn", "values": ["${local.bucket_arn}"]}
    assert announce["condition"] == [bucket], "whoever has a bucket could write to the queue"

    policy = resources["aws_iam_role_policy.read"]
    assert policy["role"] == "${aws_iam_role.highwater.id}", policy
    assert policy["policy"] == "${data.aws_iam_policy_document.read.json}", policy
    may = data["aws_iam_policy_document.read"]
    statements = may["statement"] + [content for block in may["dynamic"] for content in block["statement"]["content"]]
    queue, objects = ["${aws_sqs_queue.trail.arn}"], ["${local.bucket_arn}/${var.prefix}AWSLogs/*"]
    places = {"the queue": queue, "`BUCKET/*/AWSLogs/*`": objects, "the bucket": ["${local.bucket_arn}"]}
    places["the trail's key, if it has one"] = ["${statement.value}"]
    for statement in statements:
        assert set(statement) == {"actions", "resources"}, statement
    granted = sorted((action, statement["resources"]) for statement in statements for action in statement["actions"])
    manual = read("docs/sidecar.md")
    rows = table(manual, "The role needs, and needs no more than:")
    listed = sorted((action, places[on]) for actions, on, _ in rows for action in re.findall(r"`(\w+:\w+)`", actions))
    assert granted == listed, f"the role may {granted}, and docs/sidecar.md lists {listed}"

    variables = {name: body for block in module["variable"] for name, body in block.items()}
    example, = hcl2.loads(re.search(r"```hcl\n(.*?)```", manual, re.S)[1], serialization_options=plainly)["module"]
    given = example["highwater"]
    assert os.path.samefile(given.pop("source"), root)
    required = {name for name, body in variables.items() if "default" not in body}
    assert required <= set(given) <= set(variables), f"docs/sidecar.md gives {set(given)}, needed are {required}"
    print(f"terraform: {len(resources)} resources parsed, not validated: only the provider can")


def check_container(path, version, rust_version):
    # Beside this Python, whose environment need not be in the path.
    run(os.path.join(os.path.dirname(sys.executable), "hadolint"), "--no-color", "--failure-threshold=style", path)
    lines = [line for line in read(path).splitlines() if line and not line.startswith("#")]
    build, base = [line.split()[1] for line in lines if line.startswith("FROM ")]
    release = build.rsplit("-", 1)[1]
    assert build == f"docker.io/library/rust:{rust_version}-{release}", f"{build}, but Cargo.toml has {rust_version}"
    assert base == f"gcr.io/distroless/cc-{DEBIAN[release]}:nonroot", base
    assert lines[-2] == f"USER {NONROOT}:{NONROOT}", lines[-2]
    assert f"COPY --from=build --chown={NONROOT}:{NONROOT} /state /state" in lines, "a new volume would be root's"
    program = json.loads(lines[-1].removeprefix("ENTRYPOINT "))
    assert f"COPY --from=build /source/target/release/highwater {program[0]}" in lines, program
    assert "**/target" in read(f"{path}.dockerignore").splitlines(), "what was built outside goes into the container"
    for tag in re.findall(r"highwater:(\d[\w.]*)", read("docs/sidecar.md")):
        assert tag == version, f"docs/sidecar.md has an image {tag}, and Cargo.toml version {version}"
    print("hadolint: fine")


def check_metrics(deploy):
    families = re.findall(r'family\(\s*"(\w+)",\s*"(\w+)"', read("src/status.rs"))
    served = {f"highwater_{name}{'_total' if kind == 'counter' else ''}" for name, kind in families}
    groups = yaml.safe_load(read(deploy, "prometheus-rules.yaml"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    panels = json.loads(read(deploy, "grafana-dashboard.json"))["panels"]
    uses = [(rule["alert"], rule["expr"]) for rule in rules]
    assert len(dict(uses)) == len(rules), "two alerts of one name"
    uses += [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    for user, expression in uses:
        names = set(re.findall(r"\bhighwater_\w+", expression))
        assert names and names <= served, f"{user}: there is no metric {names - served}"
    for rule in rules:
        assert rule["annotations"]["summary"] and rule["labels"]["severity"], rule
    watched = set(re.findall(r"\bhighwater_\w+", " ".join(rule["expr"] for rule in rules)))
    for metric, _, _ in table(read("docs/sidecar.md"), "Worth an alarm:"):
        name = re.search(r"highwater_\w+", metric)[0]
        assert name in watched, f"docs/sidecar.md says that {name} is worth an alarm, and there is none"
    print(f"{len(rules)} alerts and {len(panels)} panels on metrics that exist")


def check_unit(deploy, scratch, port):
    text = read(deploy, "highwater.service")
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(text)
    command = parser["Service"]["ExecStart"].split()
    assert command[command.index("--status") + 1] == f"127.0.0.1:{port}", command
    environment = re.search(r"^HIGHWATER_FLAGS=(.*)", read(deploy, "environment.example"), re.M)
    check_flags(command + [environment[1]])
    assert "$HIGHWATER_FLAGS" in command, command
    unit = os.path.join(scratch, "highwater.service")
    with open(unit, "w") as file:
        # The program need not be installed to check its unit.
        file.write(text.replace("/usr/local/bin/highwater", shutil.which("true")))
    return unit


def main():
    deploy, scratch = sys.argv[1:]
    package = tomllib.loads(read("Cargo.toml"))["package"]
    version = package["version"]
    check_container(os.path.join(deploy, "Containerfile"), version, package["rust-version"])
    port = check_chart(os.path.join(deploy, "helm", "highwater"), version)
    assert check_kubernetes(os.path.join(deploy, "kubernetes.yaml"), version) == port
    ports = set(re.findall(r"(?:status=0\.0\.0\.0:|deployment/highwater )(\d+)", read("docs/sidecar.md")))
    assert ports == {str(port)}, f"docs/sidecar.md has port {ports}, the chart {port}"
    check_terraform(os.path.join(deploy, "terraform"))
    check_metrics(deploy)
    unit = check_unit(deploy, scratch, port)
    checks = [
        ("promtool", ["check", "rules", os.path.join(deploy, "prometheus-rules.yaml")], "the rules are only parsed"),
        ("systemd-analyze", ["verify", "--man=no", unit], "the unit is only parsed"),
        ("terraform", ["fmt", "-check", "-diff", os.path.join(deploy, "terraform")], "its layout is not checked"),
    ]
    for tool, arguments, instead in checks:
        if shutil.which(tool) is None:
            print(f"{tool} is not installed: {instead}")
            continue
        run(tool, *arguments)
        print(f"{tool}: fine")


if __name__ == "__main__":
    main()
