#!/usr/bin/env python3
"""What fails around the sidecar, and what must not fail with it.

  faults.py HIGHWATER SCRATCH_DIRECTORY [--seed N]

A proxy between `highwater` and moto's server answers for S3 and SQS with errors: 500, SlowDown, bodies cut off,
connections broken, slow answers, a queue that is away, keys that have run out, objects that nobody can read; and a disk
is full for a while (as root only: it is a small tmpfs). Each time the insights must be those of a scan of the same
objects, byte for byte, and no message may be deleted before all that it names was fetched or given up.
"""
import argparse
import collections
import gzip
import http.client
import http.server
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
import requests
from moto.server import ThreadedMotoServer
from sidecar import REGION, free_port, objects, shuffled

DENIED = "AWSLogs/denied.json.gz"
CUT = "AWSLogs/cut.json.gz"
PLAIN = "AWSLogs/no-gzip.json.gz"
HARD = "AWSLogs/ä + b%20c.json.gz"
MISSING = "AWSLogs/not-there.json.gz"


def failure(code):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made up</Message></Error>".encode()


class Proxy(http.server.ThreadingHTTPServer):
    """Between the sidecar and moto. `weather` names a fault for each GET of an object, or None."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, backend, weather):
        super().__init__(("127.0.0.1", 0), Handler)
        self.backend, self.weather = backend, weather
        self.queue_fault, self.list_weather = None, lambda: None
        self.lock = threading.Lock()
        self.messages, self.had, self.refused = {}, set(), collections.Counter()
        self.faults = collections.Counter()
        self.early, self.deleted, self.parts = [], 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass

    def received(self, answer):
        for message in json.loads(answer or b"{}").get("Messages", []):
            records = json.loads(message["Body"]).get("Records", [])
            keys = [urllib.parse.unquote_plus(record["s3"]["object"]["key"]) for record in records]
            with self.lock:
                self.messages[message["ReceiptHandle"]] = keys

    def deleting(self, request):
        with self.lock:
            for entry in json.loads(request).get("Entries", []):
                self.deleted += 1
                for key in self.messages.get(entry["ReceiptHandle"], []):
                    if key not in self.had and self.refused[key] < 4:
                        self.early.append(key)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def broken(self):
        self.close_connection = True
        self.connection.close()

    def forward(self):
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.headers.get("X-Amz-Target", "")
        key = None
        if target.startswith("AmazonSQS"):
            if proxy.queue_fault == "away":
                return self.broken()
            if proxy.queue_fault == "error":
                return self.answer(500, b'{"__type": "InternalFailure"}')
            if target.endswith("DeleteMessageBatch"):
                proxy.deleting(body)
        elif self.command == "GET" and "list-type" not in self.path:
            key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).split("/", 2)[2]
            fault = proxy.weather(key)
            with proxy.lock:
                proxy.faults[fault] += fault is not None
            if fault == "slow":
                time.sleep(2)
            elif fault == "reset":
                return self.broken()
            elif fault in ("InternalError", "SlowDown"):
                return self.answer(500 if fault == "InternalError" else 503, failure(fault))
            elif fault == "ExpiredToken":
                return self.answer(403, failure(fault))
            elif fault == "KMS.ThrottlingException":
                return self.answer(400, failure(fault))
            elif fault == "AccessDenied":
                with proxy.lock:
                    proxy.refused[key] += 1
                return self.answer(403, failure(fault))
        else:
            fault = proxy.list_weather() if self.command == "GET" else None
            if fault is not None:
                with proxy.lock:
                    proxy.faults["list"] += 1
                return self.answer(403 if fault == "AccessDenied" else 500, failure(fault))
        connection = http.client.HTTPConnection("127.0.0.1", proxy.backend, timeout=60)
        skipped = ("connection", "transfer-encoding", "content-length", "date", "server")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped]
        if target.endswith("ReceiveMessage") and answer.status == 200:
            proxy.received(content)
        if key is not None and answer.status == 206:
            with proxy.lock:
                proxy.parts += 1
        if key is not None and fault == "cut" and answer.status in (200, 206):
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self.broken()
        self.answer(answer.status, content, headers)
        if key is not None:
            with proxy.lock:
                if answer.status == 200:
                    proxy.had.add(key)
                else:
                    proxy.refused[key] += 1

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = forward


class Stage:
    """A bucket whose notifications go to a queue, a proxy before both, and a sidecar behind it."""

    def __init__(self, highwater, root, name, backend, weather):
        self.root, self.name, self.bucket = root, name, name
        self.highwater = highwater
        self.proxy = Proxy(backend, weather)
        endpoint = f"http://127.0.0.1:{backend}"
        self.s3, self.sqs = (boto3.client(service, endpoint_url=endpoint) for service in ("s3", "sqs"))
        self.s3.create_bucket(Bucket=name)
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        everything = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        self.s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=everything)
        self.queues = [self.queue]
        self.environment = dict(os.environ, AWS_ENDPOINT_URL=f"http://127.0.0.1:{self.proxy.server_port}")
        self.status = f"127.0.0.1:{free_port()}"

    def start(self, state, *more):
        log = open(os.path.join(self.root, f"{self.name}.log"), "wb")
        watch = ["watch", "--state", state, "--frontier", "delivery", "--until-idle", "12s", "--status", self.status]
        for queue in self.queues:
            watch += ["--sqs", queue]
        # STS is asked for it; moto has queues by account, so it is of the same one.
        watch += ["--role", "arn:aws:iam::123456789012:role/reader", *more]
        self.process = subprocess.Popen([self.highwater, *watch], stderr=log, env=self.environment)

    def put(self, key, body):
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def end(self, state, expected):
        status = self.process.wait(timeout=240)
        assert status == 0, f"{self.name}: exit status {status}"
        told = open(os.path.join(state, "insights.jsonl"), "rb").read()
        assert told == expected, f"{self.name}: {state}/insights.jsonl differs from that of a scan"
        assert not self.proxy.early, f"{self.name}: deleted before they were had: {self.proxy.early[:5]}"
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        for queue in self.queues:
            left = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
            assert all(int(left[name]) == 0 for name in names), left


def bad_weather(highwater, root, trail, expected, backend, chance):
    """Everything that S3 and SQS may answer, and objects that nobody can read."""
    expired_until, let_in = [0.0], [float("inf")]

    def weather(key):
        if key == DENIED:
            # From when it is first asked for: it may stand in a queue before.
            let_in[0] = min(let_in[0], time.time() + 20)
            if time.time() < let_in[0]:
                return "AccessDenied"
        if time.time() < expired_until[0]:
            return "ExpiredToken"
        kinds = ["InternalError", "SlowDown", "KMS.ThrottlingException", "cut", "reset", "slow"]
        return chance.choice(kinds) if chance.random() < 0.2 else None

    stage = Stage(highwater, root, "weather", backend, weather)
    # A second queue at once, for a bucket whose keys are hard to write.
    stage.queues.append(stage.sqs.create_queue(QueueName="weather-two")["QueueUrl"])
    stage.s3.create_bucket(Bucket="weather-two")
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "weather-two"}
    stage.sqs.send_message(QueueUrl=stage.queues[1], MessageBody=json.dumps(test))
    with open(os.path.join(trail, objects(trail)[0]), "rb") as file:
        stage.s3.put_object(Bucket="weather-two", Key=HARD, Body=file.read())
    record = {"eventName": "ObjectCreated:Put", "awsRegion": REGION}
    record["s3"] = {"bucket": {"name": "weather-two"}, "object": {"key": urllib.parse.quote_plus(HARD)}}
    stage.sqs.send_message(QueueUrl=stage.queues[1], MessageBody=json.dumps({"Records": [record]}))
    state = os.path.join(root, "weather-state")
    stage.start(state)
    keys = shuffled(objects(trail), chance)
    for number, key in enumerate(keys):
        if number == len(keys) // 4:
            # Longer than the tries that an object has: whoever counted them as its own would give it up.
            expired_until[0] = time.time() + 8
        if number == len(keys) // 2:
            stage.proxy.queue_fault = "away"
        with open(os.path.join(trail, key), "rb") as file:
            stage.put(key, file.read())
    with open(os.path.join(trail, keys[0]), "rb") as file:
        stage.put(CUT, file.read()[:-40])
    stage.put(PLAIN, b"no gzip, and no JSON either")
    stage.put(DENIED, gzip.compress(b'{"Records":[]}'))
    record = {"eventName": "ObjectCreated:Put", "awsRegion": REGION}
    record["s3"] = {"bucket": {"name": "weather"}, "object": {"key": MISSING}}
    stage.sqs.send_message(QueueUrl=stage.queue, MessageBody=json.dumps({"Records": [record]}))
    time.sleep(8)
    stage.proxy.queue_fault = "error"
    time.sleep(8)
    stage.proxy.queue_fault = None
    stage.end(state, expected)
    rejects = [json.loads(line) for line in open(os.path.join(state, "rejects.jsonl"))]
    reasons = {name: [r["reason"] for r in rejects if r["object"].endswith(name)] for name in (DENIED, CUT, PLAIN, MISSING)}
    assert "NoSuchKey" in reasons[MISSING][0], reasons
    assert not reasons[DENIED] and stage.proxy.refused[DENIED] > 4 and DENIED in stage.proxy.had, "a policy that was mended"
    assert reasons[CUT] and reasons[PLAIN], reasons
    assert HARD in stage.proxy.had, "a key with + and umlauts was not read"
    strangers = [r for r in rejects if not r["object"].endswith((DENIED, CUT, PLAIN, MISSING))]
    assert not strangers, strangers[:3]
    faults = stage.proxy.faults
    kinds = ("InternalError", "SlowDown", "KMS.ThrottlingException", "cut", "reset", "slow", "ExpiredToken")
    assert all(faults[name] for name in kinds), faults
    # The same bucket at once, in the same weather.
    url = "s3://weather/AWSLogs/" + keys[0].split("/")[1]
    scanned = subprocess.run(
        [highwater, "scan", url, "--quiet"], capture_output=True, env=stage.environment, timeout=240
    )
    assert scanned.returncode == 0, scanned.stderr
    assert scanned.stdout == expected, "scan of the bucket differs from that of the files"
    # A part of it: the days from the middle on, and one large object, which comes in parts.
    large = os.path.join(root, "large.json")
    with open(large, "w") as file:
        for key in objects(trail):
            with gzip.open(os.path.join(trail, key)) as part:
                for record in json.load(part)["Records"]:
                    record["requestParameters"] = {"text": f"{chance.getrandbits(64):016x}" * 1_000}
                    json.dump(record, file)
                    file.write("\n")
    stage.s3.upload_file(large, "weather-two", "large/all.json")
    day = sorted("-".join(key.split("/")[-4:-1]) for key in keys)[len(keys) // 2]
    for where, there, options in [
        (url, os.path.join(trail, "AWSLogs"), ["--from", day]),
        ("s3://weather-two/large", large, []),
    ]:
        told = [
            subprocess.run([highwater, "scan", place, "--quiet", *options], capture_output=True, env=stage.environment, timeout=240)
            for place in (where, there)
        ]
        assert all(answer.returncode == 0 for answer in told), told
        assert told[0].stdout == told[1].stdout, f"scan {where} differs from that of {there}"
        assert told[0].stdout or where == url, "something to tell"
    assert stage.proxy.parts > os.path.getsize(large) >> 23, stage.proxy.parts
    print(
        f"weather: the same insights after {sum(faults.values())} faults; nothing deleted early; scan s3:// too, "
        f"in {stage.proxy.parts} parts what is large"
    )


def listed(highwater, root, trail, expected, backend, chance):
    """A bucket without a queue, which often does not say what it has."""
    stage = Stage(highwater, root, "listed", backend, lambda _: None)
    for key in objects(trail):
        with open(os.path.join(trail, key), "rb") as file:
            stage.put(key, file.read())
    kinds = ["AccessDenied", "InternalError"]
    stage.proxy.list_weather = lambda: chance.choice(kinds) if chance.random() < 0.2 else None
    state = os.path.join(root, "listed-state")
    first = min("-".join(key.split("/")[-4:-1]) for key in objects(trail))
    watch = ["watch", "--s3", "s3://listed", "--since", first, "--state", state, "--frontier", "delivery"]
    watch += ["--until-idle", "3s", "--status", stage.status]
    with open(os.path.join(root, "listed.log"), "wb") as log:
        subprocess.run([highwater, *watch], check=True, stderr=log, env=stage.environment, timeout=240)
    told = open(os.path.join(state, "insights.jsonl"), "rb").read()
    assert told == expected, f"listed: {state}/insights.jsonl differs from that of a scan"
    print(f"listed: the same insights, though {stage.proxy.faults['list']} lists failed")


def full_disk(highwater, root, trail, expected, backend):
    """The disk is full: nothing is taken in, it is said, and all goes on when there is room."""
    state = os.path.join(root, "disk")
    os.makedirs(state)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", state], capture_output=True)
    if mounted.returncode != 0:
        print("full disk: skipped, a tmpfs needs root")
        return
    try:
        stage = Stage(highwater, root, "disk", backend, lambda _: None)
        stage.start(state)

        def ready():
            for _ in range(100):
                try:
                    return requests.get(f"http://{stage.status}/readyz", timeout=5).status_code
                except requests.ConnectionError:
                    time.sleep(0.1)

        def fill():
            try:
                with open(os.path.join(state, "filler"), "wb", buffering=0) as filler:
                    while True:
                        filler.write(bytes(4096))
            except OSError:
                pass

        assert ready() == 200
        keys = objects(trail)
        for number, key in enumerate(keys):
            with open(os.path.join(trail, key), "rb") as file:
                stage.put(key, file.read())
            if number == len(keys) // 3:
                fill()
        for _ in range(100):
            if ready() == 503:
                break
            time.sleep(0.1)
        assert ready() == 503, "a full disk is not told"
        # What was on its way is settled.
        time.sleep(1)
        before = stage.proxy.deleted
        time.sleep(4)
        assert ready() == 503 and stage.proxy.deleted == before, "a message was deleted while the disk was full"
        assert requests.get(f"http://{stage.status}/healthz", timeout=5).status_code == 200
        os.remove(os.path.join(state, "filler"))
        stage.end(state, expected)
        # One that begins on a full disk waits, too, before it takes the place of whoever wrote to a bucket before.
        # Not in the bucket whose objects are announced: each commit would announce itself.
        stage.s3.create_bucket(Bucket="disk-state")
        fill()
        stage.start(state, "--mirror", "s3://disk-state/one")
        for _ in range(100):
            if ready() == 503:
                break
            time.sleep(0.1)
        time.sleep(1)
        assert ready() == 503 and stage.process.poll() is None, "a full disk ends a sidecar that begins"
        os.remove(os.path.join(state, "filler"))
        stage.end(state, expected)
        kept = stage.s3.list_objects_v2(Bucket="disk-state").get("Contents", [])
        assert any("/snapshot-" in item["Key"] for item in kept), kept
        print(f"full disk: the same insights; {before} messages before it was full, none while it was")
    finally:
        subprocess.run(["umount", "-l", state], check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("highwater")
    parser.add_argument("scratch")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    chance = random.Random(arguments.seed)
    root = os.path.join(arguments.scratch, "faults")
    os.makedirs(root)
    trail = os.path.join(root, "trail")
    simulate = ["simulate", "-o", trail, "--seed", str(arguments.seed), "--days", "12", "--accounts", "1", "--regions"]
    simulate += ["1", "--apis", "12", "--scale", "0.02", "--anomalies-per-week", "21"]
    subprocess.run([arguments.highwater, *simulate], check=True, stderr=subprocess.DEVNULL)
    scan = [arguments.highwater, "scan", trail + "/AWSLogs", "--quiet"]
    expected = subprocess.run(scan, check=True, capture_output=True).stdout
    assert expected.count(b"\n") >= 4, "a trail with something to tell"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=backend, verbose=False)
    server.start()
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true")
    os.environ.update(AWS_REGION=REGION, AWS_DEFAULT_REGION=REGION)
    failed = []

    def act(what, *more):
        try:
            what(arguments.highwater, root, trail, expected, backend, *more)
        except Exception as error:
            failed.append(f"{what.__name__}: {error!r}")

    acts = [(bad_weather, chance), (listed, random.Random(arguments.seed)), (full_disk,)]
    acts = [threading.Thread(target=act, args=what) for what in acts]
    for thread in acts:
        thread.start()
    for thread in acts:
        thread.join()
    server.stop()
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
