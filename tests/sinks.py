#!/usr/bin/env python3
"""Every sink of `highwater watch` against something that stands in for its receiver: moto's server for AWS, and small
servers on loopback for the others. One receiver is dead for a while, one refuses everything, and the sidecar is
restarted in between.

  sinks.py HIGHWATER SCRATCH_DIRECTORY [--seed N]
"""
import argparse
import atexit
import base64
import collections
import email
import email.policy
import gzip
import hashlib
import hmac
import http.server
import json
import logging
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
import requests
from moto.server import ThreadedMotoServer

ACCOUNT = "123456789012"
REGION = "us-east-1"
SECRETS = {
    "HOOK_SECRET": "hook-hush-1",
    "HOOK_TOKEN": "Bearer hook-hush-2",
    "SLACK_TOKEN": "xoxb-hush-3",
    "PAGERDUTY_KEY": "hush4hush4hush4hush4hush4hush4hu",
    "SMTP_PASSWORD": "hush-5",
}
SEVERITIES = ["info", "low", "medium", "high", "critical"]


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

    behind, wrong, services = "", [], collections.Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.check(body)
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


class Post(socketserver.StreamRequestHandler):
    """A mail server, as much of one as is needed."""

    letters = []

    def handle(self):
        say = lambda text: self.wfile.write(text.encode() + b"\r\n")
        say("220 here")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                say("250-here")
                say("250 AUTH PLAIN")
            elif word == "AUTH":
                login = base64.b64decode(line.split()[2]).split(b"\0")
                right = login[1:] == [b"highwater", SECRETS["SMTP_PASSWORD"].encode()]
                say("235 welcome" if right else "535 no")
            elif word == "DATA":
                say("354 go on")
                lines = []
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(part[1:] if part.startswith(b"..") else part)
                Post.letters.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 good")


def configuration(root, base, mail_port, topic, queue):
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
per_hour = 1000
[sink.mail]
host = "127.0.0.1"
port = {mail_port}
tls = "none"
user = "highwater"
password = "env:SMTP_PASSWORD"
from = "Highwater <highwater@example.com>"
to = ["team@example.com", "Two <two@example.com>"]

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

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
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
    post = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Post)
    threading.Thread(target=post.serve_forever, daemon=True).start()
    SECRETS["SLACK_HOOK"] = f"{base}/services/T0/B0/hush-7"
    with open(os.path.join(root, "highwater.toml"), "w") as file:
        file.write(configuration(root, base, post.server_address[1], topic, direct))

    Signed.behind = os.environ["AWS_ENDPOINT_URL"]
    gate = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Signed)
    threading.Thread(target=gate.serve_forever, daemon=True).start()
    environment = dict(os.environ, **SECRETS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{gate.server_port}")
    told_path = os.path.join(root, "state", "insights.jsonl")
    sidecar = Sidecar(arguments.highwater, root, environment)

    def deliver(part):
        for path in part:
            shutil.copy(path, os.path.join(root, "in", os.path.basename(path)))

    # A state directory that is new tells of all; most of the trail, then a restart with a receiver still dead.
    sidecar.start()
    deliver(objects[: len(objects) * 7 // 10])
    until(lambda: len(lines(told_path)) >= 2, "no insights")
    quiet = {"webhook", "wrong"}
    until(lambda: sidecar.behind() is not None and set(sidecar.behind()) <= quiet, lambda: f"behind: {sidecar.behind()}")
    first = {json.loads(line)["sharedEventID"] for line in lines(told_path)}
    posted = len(Receiver.messages)
    assert posted > 0 and not Receiver.got["/hook"] and Receiver.got["/hook while dead"], posted
    figures = sidecar.metrics()
    assert float(figures['highwater_sink_failures{sink="webhook"}']) > 0, figures
    assert float(figures['highwater_sink_sent_total{sink="slack"}']) > 0, figures
    sidecar.stop()
    state = os.path.join(root, "state")
    assert json.load(open(os.path.join(state, "sink-webhook.json")))["position"] == 0

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
    required = "activity_id category_uid class_uid type_uid severity_id time metadata finding_info cloud".split()
    for finding in ocsf.values():
        assert all(name in finding for name in required), finding
        assert finding["type_uid"] == 200400 + finding["activity_id"] and finding["class_uid"] == 2004
        assert finding["unmapped"]["cloudtrail_insight"]["eventID"] == finding["metadata"]["uid"]
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
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert all(alert["endsAt"] <= now for alert in alerts.values()), "all have ended"
    starts = {letter["Message-ID"] for letter in Post.letters if not letter["In-Reply-To"]}
    answered = [letter["In-Reply-To"] for letter in Post.letters if letter["In-Reply-To"]]
    assert len(starts) == len(incidents), (len(starts), len(incidents))
    assert all(answer in starts for answer in answered)
    assert all(letter["To"] == "team@example.com, Two <two@example.com>" for letter in Post.letters)
    assert all({p.get_content_type() for p in letter.iter_parts()} == {"text/plain", "text/html"} for letter in Post.letters)

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

    charts = Receiver.got["upload"]
    assert charts and all(chart.startswith(b"\x89PNG") for chart in charts), "no charts"
    assert len(charts) == len(Receiver.got["files.completeUploadExternal"]) <= len(incidents)

    # AWS.
    assert not Signed.wrong, Signed.wrong[0]
    assert set(Signed.services) == {"sns", "sqs", "events", "s3", "securityhub"}, Signed.services
    by_id = {record["eventID"]: record for record in records}
    messages = [json.loads(message["Body"]) for message in receive(sqs, subscribed)]
    assert {json.loads(message["Message"])["eventID"] for message in messages} == set(by_id)
    assert all(message["MessageAttributes"]["severity"]["Value"] in SEVERITIES for message in messages)
    assert {json.loads(message["Body"])["metadata"]["uid"] for message in receive(sqs, direct)} == set(by_id)
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

    # Nobody is told a secret but whom it is for.
    sidecar.log.flush()
    files = [sidecar.log.name] + [os.path.join(state, name) for name in os.listdir(state)]
    for path in filter(os.path.isfile, files):
        text = open(path, "rb").read().decode(errors="replace")
        for name, secret in [*SECRETS.items(), ("AWS", "aws-hush-6"), ("path", "hush-7")]:
            assert secret not in text, f"{name} stands in {path}"
    moto.stop()
    print(f"{len(records)} records of {len(incidents)} incidents through {len(os.listdir(state))} files: all sinks have theirs")


if __name__ == "__main__":
    main()
