#!/usr/bin/env python3
"""Every sink of `highwater watch` against something that stands in for its receiver: moto's server for AWS, aiosmtpd
for mail, and small servers on loopback for the others. One receiver is dead for a while, one refuses everything, two
mail servers are not to be had at first, and the sidecar is restarted in between. Findings are held against the models
of OCSF and of AWS.

  sinks.py HIGHWATER SCRATCH_DIRECTORY [--seed N]
"""
import argparse
import atexit
import base64
import collections
import datetime
import email
import email.policy
import functools
import gzip
import hashlib
import hmac
import http.server
import ipaddress
import json
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
import jsonschema
import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from botocore.validate import ParamValidator
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

ACCOUNT = "123456789012"
REGION = "us-east-1"
SECRETS = {
    "HOOK_SECRET": "hook-hush-1",
    "HOOK_TOKEN": "Bearer hook-hush-2",
    "SLACK_TOKEN": "xoxb-hush-3",
    "PAGERDUTY_KEY": "hush4hush4hush4hush4hush4hush4hu",
    "SMTP_PASSWORD": "hush-5",
    "SMTP_MISTYPED": "hush-8",
}
SEVERITIES = ["info", "low", "medium", "high", "critical"]

OCSF = get_ocsf_schema(version="1.8.0")
OCSF_FINDING = OcsfJsonSchemaEmbedded(OCSF).get_class_schema("detection_finding", profiles=["cloud"])

# Characters that Security Hub takes, by the documents of its format. Its API's model knows no lengths.
ASFF_LIMITS = {"Id": 512, "ProductArn": 2048, "GeneratorId": 512, "Title": 256, "Description": 1024, "Region": 16}
ASFF_LIMITS |= {"CompanyName": 128, "ProductName": 128}
ASFF_NAMESPACES = {
    "Software and Configuration Checks",
    "TTPs",
    "Effects",
    "Unusual Behaviors",
    "Sensitive Data Identifications",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Receiver(http.server.BaseHTTPRequestHandler):
    """All that speak HTTP, told apart by their paths."""

    got = collections.defaultdict(list)
    hook_is_dead = True
    messages = {}
    lock = threading.Lock()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urllib.parse.urlsplit(self.path).path
        with Receiver.lock:
            status, answer = self.answer(path, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self, path, body):
        got = Receiver.got[path]
        if path == "/hook":
            assert self.headers["Authorization"] == SECRETS["HOOK_TOKEN"]
            stamp = self.headers["X-Highwater-Timestamp"]
            key = SECRETS["HOOK_SECRET"].encode()
            expected = "sha256=" + hmac.new(key, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(self.headers["X-Highwater-Signature"], expected)
            if Receiver.hook_is_dead:
                Receiver.got["/hook while dead"].append(body)
                return 503, {}
            got.append((self.headers["X-Highwater-Kind"], self.headers["Idempotency-Key"], body))
            return 200, {}
        if path == "/wrong":
            got.append(body)
            return 400, {"error": "no such thing"}
        if path.startswith("/slack/"):
            return 200, self.slack(path.removeprefix("/slack/"), body)
        got.append(body.decode() if path == "/text" else json.loads(body))
        return (202 if path == "/pagerduty" else 200), {}

    def slack(self, method, body):
        """As strict as Slack is where it matters."""
        if method.startswith("upload/"):
            Receiver.got["upload"].append(body)
            return {}
        if self.headers["Authorization"] != "Bearer " + SECRETS["SLACK_TOKEN"]:
            return {"ok": False, "error": "invalid_auth"}
        if method == "files.getUploadURLExternal":
            fields = dict(urllib.parse.parse_qsl(body.decode()))
            assert fields["filename"].endswith(".png") and int(fields["length"]) > 0
            return {"ok": True, "upload_url": f"http://{self.headers['Host']}/slack/upload/1", "file_id": "F1"}
        message = json.loads(body)
        Receiver.got[method].append(message)
        if method == "chat.postMessage":
            if len(Receiver.got[method]) == 1:
                return {"ok": False, "error": "ratelimited"}
            stamp = f"1700000000.{len(Receiver.messages):06}"
            Receiver.messages[stamp] = [message]
            return {"ok": True, "ts": stamp, "channel": "C0123456789"}
        if method == "chat.update":
            if message["ts"] not in Receiver.messages:
                return {"ok": False, "error": "message_not_found"}
            Receiver.messages[message["ts"]].append(message)
            return {"ok": True, "ts": message["ts"], "channel": message["channel"]}
        assert method == "files.completeUploadExternal" and message["thread_ts"] in Receiver.messages, method
        return {"ok": True}

    def log_message(self, *_):
        pass


class Signed(http.server.BaseHTTPRequestHandler):
    """Stands before moto, which looks at no signature: checks each as AWS's documents say, and passes the request on."""

    behind, wrong, services, imports = "", [], collections.Counter(), []

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.check(body)
        if self.path == "/findings/import":
            Signed.imports.append(json.loads(body))
        answer = requests.request(self.command, Signed.behind + self.path, data=body, headers=dict(self.headers), timeout=30)
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_PUT = do_POST

    def check(self, body):
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=test/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=(\S+), Signature=(\w+)",
            self.headers.get("Authorization", ""),
        )
        if not match:
            Signed.wrong.append(f"not signed: {self.path}")
            return
        day, region, service, names, signature = match.groups()
        Signed.services[service] += 1
        path = urllib.parse.urlsplit(self.path).path
        path = path if service == "s3" else urllib.parse.quote(path)
        digest = hashlib.sha256(body).hexdigest()
        if service == "s3" and self.headers["x-amz-content-sha256"] != digest:
            Signed.wrong.append("x-amz-content-sha256")
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names.split(";"))
        canonical = "\n".join([self.command, path, "", headers, names, digest])
        scope = f"{day}/{region}/{service}/aws4_request"
        text = "\n".join(
            ["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if hmac.new(key, text.encode(), hashlib.sha256).hexdigest() != signature:
            Signed.wrong.append(f"{service} {self.path}: {canonical}")
        if "host" not in names.split(";") or region != REGION:
            Signed.wrong.append(f"{service}: signs {names} for {region}")

    def log_message(self, *_):
        pass


class Post:
    """A mail server on loopback, which takes mail of whoever has logged in."""

    def __init__(self, tls, certificate):
        self.tls, self.letters, self.logins, self.wrong, self.port = tls, [], collections.Counter(), [], free_port()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificate)
        ways = {
            "none": {},
            "starttls": {"tls_context": self.context, "require_starttls": True},
            "tls": {"ssl_context": self.context},
        }
        # The server itself sees only with STARTTLS that the way is encrypted; here it is looked at with each login.
        more = {"auth_require_tls": tls == "starttls", "authenticator": self.login, **ways[tls]}
        Controller(self, hostname="127.0.0.1", port=self.port, server_hostname="localhost", **more).start()

    def login(self, server, session, envelope, mechanism, login):
        if (server.transport.get_extra_info("cipher") is None) != (self.tls == "none"):
            self.wrong.append(f"a password over a way that is not {self.tls}")
        right = tuple(login) == (b"highwater", SECRETS["SMTP_PASSWORD"].encode())
        self.logins[right] += 1
        return AuthResult(success=right, handled=False)

    async def handle_DATA(self, server, session, envelope):
        if not session.authenticated:
            self.wrong.append("mail without a login")
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"


def certify(folder, name):
    """An authority NAME-ca.pem, and NAME.pem with the key and the certificate of a server on loopback, signed by it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca, server = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (f"{name} CA", "server"))
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]

    def signed(subject, key, extension):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with open(os.path.join(folder, f"{name}-ca.pem"), "wb") as file:
        file.write(signed(ca, ca_key, x509.BasicConstraints(ca=True, path_length=None)))
    with open(os.path.join(folder, f"{name}.pem"), "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, *private))
        file.write(signed(server, key, x509.SubjectAlternativeName(places)))


def mail(name, host, post, password):
    return f"""
[[sink]]
name = "{name}"
per_hour = 1000
[sink.mail]
host = "{host}"
port = {post.port}
tls = "{post.tls}"
user = "highwater"
password = "env:{password}"
from = "Highwater <highwater@example.com>"
to = ["team@example.com", "Two <two@example.com>"]
"""


def configuration(root, base, topic, queue):
    return f"""
[[sink]]
[sink.webhook]
url = "{base}/hook"
secret = "env:HOOK_SECRET"
headers = {{ Authorization = "env:HOOK_TOKEN" }}

[[sink]]
name = "siem"
[sink.webhook]
url = "{base}/ocsf"
format = "ocsf"

[[sink]]
name = "words"
title = "{{severity}} {{api}}"
text = "{{principal}}|{{state}}"
link = "https://h/{{sharedEventID}}"
[sink.webhook]
url = "{base}/text"
format = "text"

[[sink]]
name = "wrong"
severity = "critical"
[sink.webhook]
url = "{base}/wrong"

[[sink]]
per_hour = 1000
link = "https://highwater.example/incident/{{sharedEventID}}"
[sink.slack]
url = "{base}/slack"
channel = "C0123456789"
token = "env:SLACK_TOKEN"

[[sink]]
name = "quiet"
per_hour = 1
[sink.slack]
webhook_url = "env:SLACK_HOOK"

[[sink]]
per_hour = 1000
[sink.pagerduty]
routing_key = "env:PAGERDUTY_KEY"
url = "{base}/pagerduty"

[[sink]]
[sink.alertmanager]
url = "{base}/alertmanager/"
labels = {{ team = "platform" }}

[[sink]]
name = "severe"
severity = "high"
[sink.file]
path = "{root}/severe.jsonl"

[[sink]]
name = "asff"
apis = ["ec2:*", "iam:*"]
[sink.file]
path = "{root}/asff.jsonl"
format = "asff"

[[sink]]
[sink.sns]
topic_arn = "{topic}"

[[sink]]
[sink.sqs]
url = "{queue}"
format = "ocsf"

[[sink]]
[sink.eventbridge]
bus = "findings"

[[sink]]
[sink.s3]
bucket = "findings"
prefix = "high water"

[[sink]]
[sink.security_hub]
account = "{ACCOUNT}"
"""


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [line for line in file.read().split(b"\n") if line]


def until(what, told, seconds=90):
    end = time.time() + seconds
    while time.time() < end:
        if what():
            return
        time.sleep(0.2)
    sys.exit(f"after {seconds} s: {told() if callable(told) else told}")


class Sidecar:
    def __init__(self, highwater, root, environment):
        self.highwater, self.root, self.environment = highwater, root, environment
        self.log = open(os.path.join(root, "watch.log"), "ab")
        self.process = None

    def start(self, *more):
        self.port = free_port()
        watch = ["watch", "--dir", os.path.join(self.root, "in"), "--state", os.path.join(self.root, "state")]
        watch += ["--config", os.path.join(self.root, "highwater.toml"), "--frontier", "delivery"]
        watch += ["--status", f"127.0.0.1:{self.port}", *more]
        self.process = subprocess.Popen([self.highwater, *watch], stderr=self.log, env=self.environment)
        atexit.register(self.process.kill)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=40) == 0, self.log.name

    def metrics(self):
        try:
            text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        except requests.ConnectionError:
            return {}
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    def behind(self):
        pattern = re.compile(r'highwater_sink_behind_bytes{sink="(.*)"}')
        found = {pattern.match(name)[1]: float(value) for name, value in self.metrics().items() if pattern.match(name)}
        return {name: value for name, value in found.items() if value > 0} if found else None


def receive(sqs, queue):
    found = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(message)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return found


def check_ocsf(finding, record):
    """By the schema, and by hand where it looks at nothing."""
    faults = [fault.message for fault in jsonschema.Draft202012Validator(OCSF_FINDING).iter_errors(finding)]
    assert not faults, (faults, finding)
    attributes = OCSF["classes"]["detection_finding"]["attributes"]
    ended = record["insightDetails"]["state"] == "End"
    assert (finding["class_uid"], finding["category_uid"]) == (2004, 2), finding
    assert finding["type_uid"] == 200400 + finding["activity_id"] and finding["is_alert"] is not ended, finding
    assert finding["type_name"] == f"{finding['class_name']}: {finding['activity_name']}", finding
    for name in ("activity", "severity", "status"):
        caption = finding.get(f"{name}_name", finding.get(name))
        assert caption == attributes[f"{name}_id"]["enum"][str(finding[f"{name}_id"])]["caption"], (name, finding)
    assert finding["activity_id"] == (3 if ended else 1), finding
    assert finding["severity_id"] == SEVERITIES.index(record["highwater"]["severity"]) + 1, finding
    at = lambda text: round(datetime.datetime.fromisoformat(text).timestamp() * 1000)
    assert finding["end_time" if ended else "start_time"] == at(record["eventTime"]), finding
    assert finding["start_time"] <= finding["end_time"] <= finding["time"], finding
    assert finding["time"] == at(record["highwater"]["detectedTime"]), finding
    info = finding["finding_info"]
    assert ("modified_time" if ended else "created_time") in info and ("created_time" in info) is not ended, info
    assert finding["unmapped"]["cloudtrail_insight"] == record and finding["metadata"]["uid"] == record["eventID"]
    assert finding["anomaly_analyses"] and finding["evidences"], finding
    for observable in finding.get("observables", []):
        path = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", observable["name"])]
        assert functools.reduce(lambda value, part: value[part], path, finding) == observable["value"], observable
        kind = {"ip": (2, "IP Address"), "uid": (31, "User Object: uid")}[path[-1]]
        assert (observable["type_id"], observable["type"]) == kind, observable


def beside_lists(value, shape):
    """What stands in an enumeration's place and not in its list, at which botocore's validator does not look."""
    if shape.type_name == "structure":
        return [word for name, inner in value.items() for word in beside_lists(inner, shape.members[name])]
    if shape.type_name == "list":
        return [word for inner in value for word in beside_lists(inner, shape.member)]
    return [value] if shape.type_name == "string" and shape.enum and value not in shape.enum else []


def check_asff(findings, shape):
    """By AWS's own model of what BatchImportFindings takes, and by the limits that only its documents tell."""
    faults = ParamValidator().validate({"Findings": findings}, shape)
    assert not faults.has_errors(), faults.generate_report()
    assert not beside_lists({"Findings": findings}, shape), beside_lists({"Findings": findings}, shape)
    assert 1 <= len(findings) <= 100
    for finding in findings:
        for name, most in ASFF_LIMITS.items():
            assert 1 <= len(finding[name]) <= most, (name, finding)
        assert finding["SchemaVersion"] == "2018-10-08" and re.fullmatch(r"\d{12}", finding["AwsAccountId"]), finding
        for kind in finding["Types"]:
            assert kind.split("/")[0] in ASFF_NAMESPACES and len(kind.split("/")) <= 3, kind
        names = ("FirstObservedAt", "CreatedAt", "LastObservedAt", "UpdatedAt")
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", finding[name]) for name in names), finding
        times = [datetime.datetime.fromisoformat(finding[name]) for name in names]
        assert times == sorted(times), finding
        assert 1 <= len(finding["Resources"]) <= 32 and len(finding["ProductFields"]) <= 50, finding
        assert all(1 <= len(resource["Id"]) <= 512 for resource in finding["Resources"]), finding
        for name, value in finding["ProductFields"].items():
            assert len(name) <= 128 and 1 <= len(value) <= 2048, finding


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("highwater")
    parser.add_argument("scratch")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    root = os.path.join(arguments.scratch, "sinks")
    os.makedirs(os.path.join(root, "in"))
    trail = os.path.join(root, "trail")
    simulate = ["simulate", "-o", trail, "--seed", str(arguments.seed), "--days", "18", "--accounts", "1", "--regions"]
    simulate += ["1", "--apis", "12", "--scale", "0.02", "--anomalies-per-week", "28"]
    subprocess.run([arguments.highwater, *simulate], check=True, stderr=subprocess.DEVNULL)
    objects = []
    for folder, _, names in os.walk(os.path.join(trail, "AWSLogs")):
        objects.extend(os.path.join(folder, name) for name in names)
    objects.sort(key=lambda path: os.path.basename(path).split("_")[3])

    for name in ("werkzeug", "mail.log"):
        logging.getLogger(name).setLevel(logging.ERROR)
    port = free_port()
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    moto.start()
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="aws-hush-6",
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
    )
    sns, sqs, events = boto3.client("sns"), boto3.client("sqs"), boto3.client("events")
    s3, hub = boto3.client("s3"), boto3.client("securityhub")
    arn = lambda queue: sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    direct, subscribed, ruled = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ["direct", "topic", "rule"])
    topic = sns.create_topic(Name="insights")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(subscribed))
    events.create_event_bus(Name="findings")
    pattern = {"detail-type": ["AWS Insight via CloudTrail"], "source": ["highwater"]}
    events.put_rule(Name="insights", EventBusName="findings", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="insights", EventBusName="findings", Targets=[{"Id": "1", "Arn": arn(ruled)}])
    s3.create_bucket(Bucket="findings")

    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{receiver.server_port}"
    known, strange = (os.path.join(root, f"{name}.pem") for name in ("known", "strange"))
    certify(root, "known")
    certify(root, "strange")
    # One is sent to from the start. One does not have the right password, and one a certificate that nobody knows.
    servers = {"mail": Post("none", known), "mistyped": Post("starttls", known), "stranger": Post("tls", strange)}
    SECRETS["SLACK_HOOK"] = f"{base}/services/T0/B0/hush-7"
    with open(os.path.join(root, "highwater.toml"), "w") as file:
        file.write(configuration(root, base, topic, direct))
        file.write(mail("mail", "127.0.0.1", servers["mail"], "SMTP_PASSWORD"))
        file.write(mail("mistyped", "localhost", servers["mistyped"], "SMTP_MISTYPED"))
        file.write(mail("stranger", "127.0.0.1", servers["stranger"], "SMTP_PASSWORD"))

    Signed.behind = os.environ["AWS_ENDPOINT_URL"]
    gate = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Signed)
    threading.Thread(target=gate.serve_forever, daemon=True).start()
    environment = dict(os.environ, **SECRETS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{gate.server_port}")
    environment["SSL_CERT_FILE"] = os.path.join(root, "known-ca.pem")
    told_path = os.path.join(root, "state", "insights.jsonl")
    sidecar = Sidecar(arguments.highwater, root, environment)

    def deliver(part):
        for path in part:
            shutil.copy(path, os.path.join(root, "in", os.path.basename(path)))

    # A state directory that is new tells of all; most of the trail, then a restart with a receiver still dead.
    sidecar.start()
    deliver(objects[: len(objects) * 7 // 10])
    until(lambda: len(lines(told_path)) >= 2, "no insights")
    quiet = {"webhook", "wrong", "mistyped", "stranger"}
    until(lambda: sidecar.behind() is not None and set(sidecar.behind()) <= quiet, lambda: f"behind: {sidecar.behind()}")
    first = {json.loads(line)["sharedEventID"] for line in lines(told_path)}
    posted = len(Receiver.messages)
    assert posted > 0 and not Receiver.got["/hook"] and Receiver.got["/hook while dead"], posted
    waits = ["webhook", "mistyped", "stranger"]
    figure = lambda what, sink: float(sidecar.metrics()[f'highwater_sink_{what}{{sink="{sink}"}}'])
    until(lambda: all(figure("failures", sink) > 0 for sink in waits), sidecar.metrics)
    assert figure("sent_total", "slack") > 0 and figure("sent_total", "mail") > 0, sidecar.metrics()
    assert all(figure(what, sink) == 0 for what in ("sent_total", "refused_total") for sink in waits), sidecar.metrics()
    sidecar.stop()
    state = os.path.join(root, "state")
    assert all(json.load(open(os.path.join(state, f"sink-{sink}.json")))["position"] == 0 for sink in waits)
    # The log says why mail is not taken. Neither server was given any, and the stranger not even a password.
    log = [line.decode() for line in lines(sidecar.log.name)]
    for sink, reason in [("mistyped", "(535)"), ("stranger", "UnknownIssuer")]:
        assert any(f'"sink":"{sink}"' in line and reason in line for line in log), (sink, reason)
        assert not servers[sink].letters, sink
    assert set(servers["mistyped"].logins) == {False} and not servers["stranger"].logins

    # What was wrong with mail is mended.
    environment["SMTP_MISTYPED"] = SECRETS["SMTP_PASSWORD"]
    servers["stranger"].context.load_cert_chain(known)
    sidecar.start()
    deliver(objects[len(objects) * 7 // 10 :])
    until(lambda: {json.loads(line)["sharedEventID"] for line in lines(told_path)} - first, "nothing after the restart")
    time.sleep(1)
    Receiver.hook_is_dead = False
    until(lambda: sidecar.behind() == {}, lambda: f"behind: {sidecar.behind()}")
    sidecar.stop()
    # Everything is closed at the end, and every sink has it.
    sidecar.start("--until-idle", "4s")
    assert sidecar.process.wait(timeout=90) == 0, sidecar.log.name
    sidecar.start()
    until(lambda: sidecar.behind() == {}, lambda: f"behind: {sidecar.behind()}")
    sidecar.stop()

    told = lines(told_path)
    records = [json.loads(line) for line in told]
    severity = {}
    for record in records:
        severity.setdefault(record["sharedEventID"], record["highwater"]["severity"])
    key = {r["sharedEventID"]: r["highwater"].get("incidentID", r["sharedEventID"]) for r in records}
    ends = {r["sharedEventID"] for r in records if r["insightDetails"]["state"] == "End"}
    assert ends == set(key), "every incident ended"
    incidents = set(key.values())

    # Who was dead has all of it, in order, each once.
    hook = list(dict.fromkeys((key, body) for kind, key, body in Receiver.got["/hook"] if kind == "final"))
    assert [body for _, body in hook] == told, f"webhook: {len(hook)} of {len(told)}"
    ocsf = {finding["metadata"]["uid"]: finding for finding in Receiver.got["/ocsf"]}
    assert set(ocsf) == {record["eventID"] for record in records}
    by_id = {record["eventID"]: record for record in records}
    for finding in Receiver.got["/ocsf"]:
        check_ocsf(finding, by_id[finding["metadata"]["uid"]])
    for text in Receiver.got["/text"]:
        title, status, body, link = text.split("\n")
        assert title.split()[0] in SEVERITIES and ":" in title and link.startswith("https://h/"), text
        assert body.split("|")[1] in ("ongoing", "ended"), text

    # Who refuses everything is in nobody's way; what he refused is kept.
    tried = [r for r in records if r["highwater"]["severity"] == "critical"]
    refused = [json.loads(line) for line in lines(os.path.join(state, "sink-wrong.refused.jsonl"))]
    assert [r["refused"] for r in refused] == tried and len(tried) > 0, (len(refused), len(tried))
    assert all("status 400" in r["reason"] for r in refused)
    assert len(Receiver.got["/wrong"]) >= 3 * len(tried)

    # People: one message for each incident, over a restart, and at last its end.
    last = [versions[-1] for versions in Receiver.messages.values()]
    assert len(last) == len(incidents), f"{len(last)} messages for {len(incidents)} incidents"
    assert all("ended" in message["text"] and "https://highwater.example" in json.dumps(message) for message in last)
    quiet = [text for path, got in Receiver.got.items() if path.startswith("/services/") for text in got]
    assert 1 <= len(quiet) <= 2, "the others wait for the next hour"
    waiting = json.load(open(os.path.join(state, "sink-quiet.json")))["board"]["threads"]
    assert sum(len(thread["keys"]) for thread in waiting) == len(incidents), "and none is lost"
    actions = collections.defaultdict(list)
    for event in Receiver.got["/pagerduty"]:
        assert event["routing_key"] == SECRETS["PAGERDUTY_KEY"]
        actions[event["dedup_key"]].append(event["event_action"])
    assert set(actions) == incidents and all(a[0] == "trigger" and a[-1] == "resolve" for a in actions.values())
    alerts = {}
    for posts in Receiver.got["/alertmanager/api/v2/alerts"]:
        for alert in posts:
            assert alert["startsAt"] < alert["endsAt"] and alert["labels"]["team"] == "platform"
            alerts[json.dumps(alert["labels"], sort_keys=True) + alert["startsAt"]] = alert
    assert len(alerts) == len(key) and {a["labels"]["incident"] for a in alerts.values()} == incidents
    # What had ended before it was told is open there for some minutes, or nobody would be notified.
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    assert all(alert["endsAt"] <= soon for alert in alerts.values()), "all have ended"
    for sink, post in servers.items():
        assert not post.wrong and post.logins[True] > 0, (sink, post.wrong, post.logins)
        threads = collections.defaultdict(list)
        for letter in post.letters:
            threads[letter["In-Reply-To"] or letter["Message-ID"]].append(letter)
        assert len(threads) == len(incidents), (sink, len(threads), len(incidents))
        for letters in threads.values():
            assert letters[0]["In-Reply-To"] is None, (sink, letters)
            title, status, *_ = letters[-1].get_body(("plain",)).get_content().splitlines()
            assert status.startswith("ended "), (sink, title, status)
        assert all(letter["To"] == "team@example.com, Two <two@example.com>" for letter in post.letters)
        kinds = [{part.get_content_type() for part in letter.iter_parts()} for letter in post.letters]
        assert all(kind == {"text/plain", "text/html"} for kind in kinds), kinds
        assert not os.path.exists(os.path.join(state, f"sink-{sink}.refused.jsonl")), sink

    # Filters.
    high = [id for id, word in severity.items() if SEVERITIES.index(word) >= 3]
    severe = [json.loads(line) for line in lines(os.path.join(root, "severe.jsonl"))]
    for record in severe:
        assert record["sharedEventID"] in high or record["highwater"]["severity"] in ("high", "critical"), record
    assert {(id, state) for id in high for state in ("Start", "End")} <= {
        (record["sharedEventID"], record["insightDetails"]["state"]) for record in severe
    }
    wanted = [r for r in records if r["insightDetails"]["eventSource"] in ("ec2.amazonaws.com", "iam.amazonaws.com")]
    asff = [json.loads(line) for line in lines(os.path.join(root, "asff.jsonl"))]
    assert [f["ProductFields"]["highwater/sharedEventID"] for f in asff] == [r["sharedEventID"] for r in wanted]
    batch = hub.meta.service_model.operation_model("BatchImportFindings").input_shape
    for finding, record in zip(asff, wanted):
        check_asff([finding], batch)
        assert finding["LastObservedAt"] <= record["highwater"]["detectedTime"], (finding, record)

    charts = Receiver.got["upload"]
    assert charts and all(chart.startswith(b"\x89PNG") for chart in charts), "no charts"
    assert len(charts) == len(Receiver.got["files.completeUploadExternal"]) <= len(incidents)

    # AWS.
    assert not Signed.wrong, Signed.wrong[0]
    assert set(Signed.services) == {"sns", "sqs", "events", "s3", "securityhub"}, Signed.services
    messages = [json.loads(message["Body"]) for message in receive(sqs, subscribed)]
    assert {json.loads(message["Message"])["eventID"] for message in messages} == set(by_id)
    assert all(message["MessageAttributes"]["severity"]["Value"] in SEVERITIES for message in messages)
    ocsf = [json.loads(message["Body"]) for message in receive(sqs, direct)]
    assert {finding["metadata"]["uid"] for finding in ocsf} == set(by_id)
    for finding in ocsf:
        check_ocsf(finding, by_id[finding["metadata"]["uid"]])
    put = [json.loads(message["Body"]) for message in receive(sqs, ruled)]
    assert {event["detail"]["eventID"] for event in put} == set(by_id)
    assert all(by_id[event["detail"]["eventID"]] == event["detail"] for event in put)
    keys = [item["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="findings") for item in page["Contents"]]
    layout = re.compile(
        r"high water/AWSLogs/(\d{12})/CloudTrail-Insight/([a-z0-9-]+)/\d{4}/\d\d/\d\d/"
        r"\1_CloudTrail-Insight_\2_\d{8}T\d{4}Z_[0-9a-f]{16}\.json\.gz"
    )
    stored = []
    for name in keys:
        assert layout.fullmatch(name), name
        body = s3.get_object(Bucket="findings", Key=name)["Body"].read()
        stored.extend(json.loads(gzip.decompress(body))["Records"])
    assert len(keys) == len(records) and {r["eventID"]: r for r in stored} == by_id
    findings = [f for page in hub.get_paginator("get_findings").paginate() for f in page["Findings"]]
    assert {f["ProductFields"]["highwater/sharedEventID"] for f in findings} == set(key), len(findings)
    assert all(f["RecordState"] == "ARCHIVED" for f in findings)
    updates = collections.defaultdict(list)
    for request in Signed.imports:
        assert set(request) == {"Findings"}, request
        check_asff(request["Findings"], batch)
        for finding in request["Findings"]:
            updates[finding["Id"]].append((finding["UpdatedAt"], finding["RecordState"]))
    # Security Hub, unlike its stand-in, passes over what is not newer than what it has.
    for found in updates.values():
        assert {state for _, state in found} == {"ACTIVE", "ARCHIVED"} and sorted(found) == found, found
        assert found[0][0] < found[-1][0], found

    # Nobody is told a secret but whom it is for.
    sidecar.log.flush()
    passwords = [SECRETS[name] for name in ("SMTP_PASSWORD", "SMTP_MISTYPED")]
    sent = [("login", base64.b64encode(f"\0highwater\0{password}".encode()).decode()) for password in passwords]
    files = [sidecar.log.name] + [os.path.join(state, name) for name in os.listdir(state)]
    for path in filter(os.path.isfile, files):
        text = open(path, "rb").read().decode(errors="replace")
        for name, secret in [*SECRETS.items(), *sent, ("AWS", "aws-hush-6"), ("path", "hush-7")]:
            assert secret not in text, f"{name} stands in {path}"
    moto.stop()
    print(f"{len(records)} records of {len(incidents)} incidents through {len(os.listdir(state))} files: all sinks have theirs")


if __name__ == "__main__":
    main()
