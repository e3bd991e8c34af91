#!/usr/bin/env python3
"""The sidecar against a real bucket and queue (moto's server on loopback), killed again and again.

  sidecar.py HIGHWATER SCRATCH_DIRECTORY [--kills 50] [--seed N]

A simulated trail is put into a bucket whose notifications go to a queue, shuffled within the hour and some objects
twice, while `highwater watch` runs and is killed with SIGKILL at random moments. At the end its insights must be those
of one scan, byte for byte. The queue's messages take every shape in which S3 and CloudTrail announce objects.
"""
import argparse
import base64
import fcntl
import gzip
import hashlib
import hmac
import http.client
import http.server
import json
import logging
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.parse

import boto3
import requests
from moto.server import ThreadedMotoServer

ACCOUNT = "123456789012"
REGION = "us-east-1"

# What a sidecar says when it has begun, and has taken the place of whoever wrote to its bucket before.
TURNING = "what is muted was read"


def objects(root):
    found = []
    for folder, _, names in os.walk(os.path.join(root, "AWSLogs")):
        found.extend(os.path.relpath(os.path.join(folder, name), root) for name in names)
    # 123456789012_CloudTrail_us-east-1_20260304T1405Z_...: the minute of delivery orders them.
    return sorted(found, key=lambda key: (os.path.basename(key).split("_")[3], key))


def shuffled(keys, chance):
    hours = {}
    for key in keys:
        hours.setdefault(os.path.basename(key).split("_")[3][:11], []).append(key)
    order = []
    for hour in sorted(hours):
        part = hours[hour] + [key for key in hours[hour] if chance.random() < 0.1]
        chance.shuffle(part)
        order.extend(part)
    return order


def message(bucket, key, shape):
    record = {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": urllib.parse.quote_plus(key), "size": 1}},
    }
    plain = {"Records": [record]}
    own = {"s3Bucket": bucket, "s3ObjectKey": [key]}
    event = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "region": REGION,
        "detail": {"bucket": {"name": bucket}, "object": {"key": key}},
    }
    wrapped = lambda inner: {"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(inner)}
    return json.dumps([plain, wrapped(plain), own, wrapped(own), event][shape])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes insights; the first two requests it does not."""

    taken, keys, failures = [], set(), 2

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stamp = self.headers["X-Highwater-Timestamp"]
        expected = hmac.new(b"secret", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        right = hmac.compare_digest(self.headers["X-Highwater-Signature"], "sha256=" + expected)
        if Receiver.failures > 0:
            Receiver.failures -= 1
            self.send_response(503)
        else:
            self.send_response(200 if right else 401)
            if right and self.headers["Idempotency-Key"] not in Receiver.keys:
                Receiver.keys.add(self.headers["Idempotency-Key"])
                Receiver.taken.append(body)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def pushes(highwater, root, trail, expected):
    """The same trail, pushed: objects to /records, and as Firehose sends them."""
    state, port = os.path.join(root, "pushed"), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = dict(os.environ, HIGHWATER_PUSH_KEY="open sesame", HIGHWATER_WEBHOOK_SECRET="secret")
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{receiver.server_port}/insights"
    watch = ["watch", "--listen", f"127.0.0.1:{port}", "--webhook", hook, "--state", state, "--frontier", "delivery"]
    watch += ["--until-idle", "8s"]
    log = open(os.path.join(root, "pushed.log"), "wb")
    process = subprocess.Popen([highwater, *watch], stderr=log, env=environment)
    key = {"X-Amz-Firehose-Access-Key": "open sesame"}
    for _ in range(100):
        try:
            assert requests.get(url + "/healthz", timeout=5).status_code == 200
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    assert requests.post(url + "/records", data=b"{}", timeout=5).status_code == 401
    assert requests.post(url + "/records", data=b"{}", headers={"Authorization": "Bearer x"}, timeout=5).status_code == 401
    broken = requests.post(url + "/firehose", data=b"{}", headers=key, timeout=5)
    assert broken.status_code == 400 and "errorMessage" in broken.json(), broken.text
    keys = objects(trail)
    for number, part in enumerate(keys[at : at + 20] for at in range(0, len(keys), 20)):
        bodies = [open(os.path.join(trail, name), "rb").read() for name in part]
        if number % 8 == 1:
            for body in bodies:
                # Twice: the sender did not hear the first answer.
                for _ in range(1 + (number == 1)):
                    answer = requests.post(url + "/records", data=body, headers=key, timeout=60)
                    assert answer.status_code == 200, answer.text
        else:
            records = [{"data": base64.b64encode(body).decode()} for body in bodies]
            request = {"requestId": f"r{number}", "timestamp": 1, "records": records}
            headers = dict(key, **{"X-Amz-Firehose-Request-Id": f"r{number}", "Content-Encoding": "gzip"})
            body = gzip.compress(json.dumps(request).encode())
            answer = requests.post(url + "/firehose", data=body, headers=headers, timeout=60)
            assert answer.status_code == 200 and answer.json()["requestId"] == f"r{number}", answer.text
    assert requests.get(url + "/readyz", timeout=5).status_code == 200
    text = requests.get(url + "/metrics", timeout=5).text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    fates = sum(float(value) for name, value in figures.items() if name.startswith("highwater_records_total{"))
    assert float(figures["highwater_records_read_total"]) == fates + float(figures["highwater_records_open"]) > 0, text
    assert process.wait(timeout=60) == 0, log.name
    told = open(os.path.join(state, "insights.jsonl"), "rb").read()
    if told != expected:
        sys.exit(f"{state}/insights.jsonl differs from that of a scan")
    assert b"\n".join(Receiver.taken) + b"\n" == expected, f"the receiver has {len(Receiver.taken)} insights"
    # A signal ends it in time, and with status 0.
    process = subprocess.Popen([highwater, *watch[:-2]], stderr=log, env=environment)
    time.sleep(1)
    process.terminate()
    assert process.wait(timeout=25) == 0, log.name
    print("pushed: the same insights")


def reloads(highwater, root, trail, expected):
    """The configuration changes under a running sidecar, for better and for worse; one process all the while."""
    folder = os.path.join(root, "reloads")
    inbox, state = os.path.join(folder, "inbox"), os.path.join(folder, "state")
    os.makedirs(inbox)
    config, log = os.path.join(folder, "highwater.toml"), os.path.join(folder, "watch.log")
    keys = sorted(objects(trail), key=os.path.basename)
    cuts = [len(keys) * share // 100 for share in (0, 80, 95, 98, 100)]
    parts = [keys[start:end] for start, end in zip(cuts, cuts[1:])]
    status = f"127.0.0.1:{free_port()}"
    watch = [highwater, "watch", "--config", config, "--dir", inbox, "--state", state, "--frontier", "delivery"]
    watch += ["--status", status]
    # Nobody ever listens there.
    dead = f'[[sink]]\nname = "dead"\nwebhook = {{ url = "http://127.0.0.1:{free_port()}/" }}\n'

    def configure(names, more=""):
        sinks = "".join(f'[[sink]]\nname = "{name}"\nfile = {{ path = "{folder}/{name}.jsonl" }}\n' for name in names)
        # In one step, as editors and Kubernetes do it: nobody reads half a file.
        with open(config + ".new", "w") as file:
            file.write(more + sinks + dead)
        os.replace(config + ".new", config)

    def deliver(part):
        for key in part:
            shutil.copy(os.path.join(trail, key), os.path.join(inbox, os.path.basename(key)))
        starts, since_s = None, 0

        def are_read():
            nonlocal starts, since_s
            # Until a source was first empty its age is that of the run.
            found = open(log).read().count('"message":"watching"')
            if found != starts:
                starts, since_s = found, time.time()
            return 0 <= metric("highwater_source_drained_age_seconds") < time.time() - since_s - 1

        until(are_read, "files are read")

    def metric(name):
        try:
            text = requests.get(f"http://{status}/metrics", timeout=5).text
        except requests.ConnectionError:
            return -1
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)]
        return values[0] if values else -1

    def until(holds, what):
        for _ in range(300):
            assert process.poll() is None, f"the sidecar ended by itself with {process.returncode}; see {log}"
            if holds():
                return
            time.sleep(0.1)
        raise AssertionError(f"not within 30 s: {what}; see {log}")

    def said(text, times):
        until(lambda: open(log).read().count(text) >= times, text)
        assert open(log).read().count(text) == times, text

    configure(["one"])
    process = subprocess.Popen(watch, stderr=open(log, "wb"))
    deliver(parts[0])
    deliver(parts[1])
    asked_s = time.time()
    configure(["one", "two"])
    said("a new configuration", 1)
    assert time.time() - asked_s < 8, f"a reload waits for a dead receiver: {time.time() - asked_s:.1f} s; see {log}"
    # Minutes may be closed a moment after the files were read, but not between two configurations.
    before = open(os.path.join(state, "insights.jsonl"), "rb").read()
    # Neither what cannot be read nor what cannot be started with changes anything.
    configure(["one"], "lateness = 3\n[wach]\n")
    said("keeping the old configuration", 1)
    configure(["one"], 'lateness = "1d"\n[watch]\nstatus = "999.0.0.1:1"\n')
    said("keeping the old configuration", 2)
    deliver(parts[2])
    configure(["one", "two"])
    said("a new configuration", 2)
    process.send_signal(signal.SIGHUP)
    said("a new configuration", 3)
    deliver(parts[3])
    process.terminate()
    assert process.wait(timeout=25) == 0, log
    subprocess.run([*watch, "--until-idle", "3s"], check=True, stderr=subprocess.DEVNULL, timeout=60)
    if open(os.path.join(state, "insights.jsonl"), "rb").read() != expected:
        sys.exit(f"{state}/insights.jsonl differs from that of a scan")
    one, two = (open(os.path.join(folder, name + ".jsonl"), "rb").read() for name in ("one", "two"))
    assert one == expected, "the first sink has all"
    assert two == expected[len(before) :], "the second sink has what came from its start on"
    print("reloaded three times: the same insights")
    piped(highwater, root, state, dead)


def lines(count, stamp, first=0):
    """Events that are all different, as JSON lines."""
    for number in range(first, first + count):
        yield (
            f'{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","arn":"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"}},'
            f'"eventTime":"{stamp}","eventSource":"ec2.amazonaws.com","eventName":"Call{number % 500}","awsRegion":"{REGION}",'
            f'"sourceIPAddress":"10.0.0.{number % 200}","eventID":"{number:032x}","eventType":"AwsApiCall",'
            f'"managementEvent":true,"recipientAccountId":"{ACCOUNT}","eventCategory":"Management"}}\n'
        ).encode()


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def piped(highwater, root, seeded, dead):
    """What standard input has brought outlasts reloads and a signal, in spite of a receiver that is down and of a
    snapshot that cannot be written; and where it is lost, that is told."""
    folder = os.path.join(root, "piped")
    state, config, log = (os.path.join(folder, name) for name in ("state", "highwater.toml", "watch.log"))
    # With insights that the dead receiver has not taken.
    shutil.copytree(seeded, state)
    watch = [highwater, "watch", "-", "--config", config, "--state", state, "--status", f"127.0.0.1:{free_port()}"]

    def configure(comment):
        with open(config + ".new", "w") as file:
            file.write(f"# {comment}\n{dead}")
        os.replace(config + ".new", config)

    configure("first")
    # Opened and closed without the receiver: how much was read.
    plain = [part for part in watch if part not in ("--config", config)]

    def count():
        subprocess.run(plain, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60)
        return json.load(open(os.path.join(state, "summary.json")))["records"]["read"]

    before = count()
    # A folder where the snapshot should be written: like a disk that has room for the journal, and not for the state.
    os.mkdir(os.path.join(state, ".snapshot.partial"))
    process = subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=open(log, "wb"), bufsize=0)
    said = lambda text: open(log).read().count(text)
    sent, stamp = 0, now()
    while not said("watching"):
        assert process.poll() is None, f"it ended with {process.returncode}; see {log}"
        time.sleep(0.05)
    for turn in range(2):
        configure(f"turn {turn}")
        while said("a new configuration") <= turn:
            assert process.poll() is None, f"it ended with {process.returncode}; see {log}"
            # Lines that were there before would be known again.
            process.stdin.write(b"".join(lines(200, stamp, sent)))
            sent += 200
            time.sleep(0.002)
    rest = list(lines(60_000, stamp, sent))
    process.stdin.write(b"".join(rest))
    sent += len(rest)
    # All of it is read once the pipe is empty, and most of it is on its way to the journal.
    while struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"    "))[0] > 0:
        pass
    process.terminate()
    assert process.wait(timeout=25) == 0, f"status {process.returncode}; see {log}"
    assert said("its journal stands for it") == 3, log
    os.rmdir(os.path.join(state, ".snapshot.partial"))
    after = count()
    assert after - before == sent, f"of {sent} events sent {after - before} were read; see {log}"
    print(f"piped: {sent} events through two reloads, a dead receiver and a signal")

    # A file may not grow any more: what came is nowhere but in memory.
    full = os.path.join(folder, "full")
    watch = [highwater, "watch", "-", "--state", full, "--status", f"127.0.0.1:{free_port()}"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
    process = subprocess.Popen(
        watch, stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit, restore_signals=False
    )
    while b'"watching"' not in process.stderr.readline():
        assert process.poll() is None, f"it ended with {process.returncode}"
    process.stdin.write(b"".join(list(lines(5_000, stamp))))
    process.stdin.flush()
    time.sleep(2)
    process.terminate()
    told = process.communicate(timeout=25)[1].decode()
    assert process.returncode == 1 and "standard input brought since the one before is lost" in told, told
    print("piped: what is lost is told")


class Passing(http.server.BaseHTTPRequestHandler):
    """Passes requests on to `backend`; what becomes of the answer is for who comes from it."""

    protocol_version = "HTTP/1.1"
    backend = 0

    def before(self):
        pass

    def answer(self, body, status, content):
        return status, content

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.before()
        skipped = ("connection", "transfer-encoding", "content-length", "date", "server")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        connection = http.client.HTTPConnection("127.0.0.1", Passing.backend, timeout=60)
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        status, content = self.answer(body, answer.status, answer.read())
        self.send_response(status)
        for name, value in answer.getheaders():
            if name.lower() not in skipped:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = forward

    def log_message(self, *_):
        pass


def passing(handler):
    """A server of the kind in front of the real one, and the environment in which a sidecar asks it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # Who is killed hears no answer.
    server.daemon_threads, server.handle_error = True, lambda *_: None
    Passing.backend = int(os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, dict(os.environ, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}")


class Stalled(Passing):
    """The answer to the first piece of the journal that is longer than a little is kept back, and once it is `dead`
    nothing is answered at all."""

    dead, held = threading.Event(), []
    released = threading.Event()

    def before(self):
        if Stalled.dead.is_set():
            Stalled.released.wait()

    def answer(self, body, status, content):
        if self.command == "PUT" and "/journal-" in self.path and body and not Stalled.held:
            Stalled.held.append(self.path)
            Stalled.released.wait()
        return status, content


def signalled(highwater, root):
    """A signal is heard at once before anything was taken in, and in time while a bucket does not answer."""
    boto3.client("s3").create_bucket(Bucket="stalled")
    server, environment = passing(Stalled)
    log = os.path.join(root, "signalled.log")

    def start(name, *more):
        state = os.path.join(root, name)
        watch = [highwater, "watch", "-", "--state", state, "--status", f"127.0.0.1:{free_port()}", *more]
        return subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=open(log, "ab"), env=environment, bufsize=0)

    def ended(process, status, within_s):
        began = time.time()
        process.terminate()
        assert process.wait(timeout=60) == status, f"status {process.returncode}; see {log}"
        assert time.time() - began < within_s, f"it took {time.time() - began:.1f} s; see {log}"

    # The directory is somebody else's for a moment, and it waits.
    os.mkdir(os.path.join(root, "signalled-0"))
    with open(os.path.join(root, "signalled-0", "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start("signalled-0")
        time.sleep(2)
        ended(process, 0, 2)

    mirror = ["--mirror", "s3://stalled/one"]

    def watching(name):
        said = lambda: open(log).read().count(TURNING)
        before, process = said(), start(name, *mirror)
        while said() == before:
            assert process.poll() is None, f"it ended with {process.returncode}; see {log}"
            time.sleep(0.1)
        return process

    process = watching("signalled-1")
    process.stdin.write(b"".join(lines(500, now())))
    while not Stalled.held:
        assert process.poll() is None, log
        time.sleep(0.05)
    # The piece is there, but nobody has heard so; meanwhile the journal becomes longer.
    process.stdin.write(b"".join(lines(700, now())))
    time.sleep(0.5)
    ended(process, 0, 17)
    assert "another sidecar" not in open(log).read(), log
    Stalled.released.set()
    process = start("signalled-2", *mirror)
    assert process.communicate(timeout=60) and process.returncode == 0, log
    records = json.load(open(os.path.join(root, "signalled-2", "summary.json")))["records"]
    assert records["read"] == 1_200, records

    process = watching("signalled-3")
    Stalled.released.clear()
    Stalled.dead.set()
    process.stdin.write(b"".join(lines(900, now())))
    time.sleep(1)
    ended(process, 1, 17)
    assert "standard input brought since the one before is lost" in open(log).read(), log
    # Nothing of the bucket is known yet.
    process = start("signalled-4", *mirror)
    time.sleep(2)
    ended(process, 0, 2)
    Stalled.released.set()
    server.shutdown()
    print("signalled: heard in time, whatever does not answer")


class Racing(Passing):
    """Once `armed`, the next snapshot is held back until a second one comes under the same number, which may try when the
    first is written."""

    armed, second, written = threading.Event(), threading.Event(), threading.Event()
    lock, held = threading.Lock(), []

    def forward(self):
        place = None
        if self.command == "PUT" and "/snapshot-" in self.path and Racing.armed.is_set():
            with Racing.lock:
                place = len(Racing.held)
                Racing.held.append(self.path)
        if place == 0:
            Racing.second.wait(timeout=30)
        elif place == 1:
            Racing.second.set()
            Racing.written.wait(timeout=30)
        super().forward()
        if place == 0:
            Racing.written.set()

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = forward


def raced(highwater, root):
    """Two start at once, and both take the place of a third: whoever comes too late takes the place of the other."""
    boto3.client("s3").create_bucket(Bucket="raced")
    server, environment = passing(Racing)

    def start(name, stdin):
        watch = [highwater, "watch", "-", "--state", os.path.join(root, name), "--mirror", "s3://raced/one"]
        watch += ["--status", f"127.0.0.1:{free_port()}"]
        with open(os.path.join(root, name + ".log"), "wb") as log:
            return subprocess.Popen(watch, stdin=stdin, stderr=log, env=environment)

    said = lambda name, text: text in open(os.path.join(root, name + ".log")).read()
    # A disk that does not take the name of what was put into the bucket last is no other writer.
    process, name = start("raced-0", subprocess.PIPE), os.path.join(root, "raced-0", "mirrored")
    while not said("raced-0", TURNING):
        assert process.poll() is None
        time.sleep(0.1)
    os.remove(name)
    os.mkdir(name)
    process.stdin.write(b"".join(lines(100, now(), 1_000)))
    process.stdin.close()
    while not said("raced-0", "cannot be put into the bucket"):
        assert process.poll() is None, f"it ended with {process.returncode}"
        time.sleep(0.1)
    time.sleep(1)
    os.rmdir(name)
    assert process.wait(timeout=60) == 0 and not said("raced-0", "another sidecar")
    Racing.armed.set()
    both = {name: start(name, subprocess.PIPE) for name in ("raced-1", "raced-2")}
    until = time.time() + 60
    while not all(said(name, TURNING) for name in both) and time.time() < until:
        time.sleep(0.1)
    assert Racing.held[0] == Racing.held[1], Racing.held
    late = [name for name in both if said(name, "another sidecar has written")]
    assert len(late) == 1, late
    writer = both.pop(late[0])
    (other,) = both.values()
    # The one hears of the other when it writes next, which may be by itself.
    for process in (other, writer):
        try:
            process.stdin.write(b"".join(lines(100, now())))
            process.stdin.close()
        except BrokenPipeError:
            assert process is other
    assert other.wait(timeout=60) == 1 and said(*both, "another sidecar has taken over")
    assert writer.wait(timeout=60) == 0
    records = json.load(open(os.path.join(root, late[0], "summary.json")))["records"]
    assert records["read"] == 200, records
    server.shutdown()
    print("raced: who is last is the writer")


class Slow(Passing):
    """Reading takes a while."""

    def before(self):
        if self.command == "GET":
            time.sleep(0.05)


def hurried(highwater, root):
    """The journal is many small pieces, and whoever writes it does not wait for whoever takes over."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="hurried")
    server, environment = passing(Slow)

    def start(name, **more):
        watch = [highwater, "watch", "-", "--state", os.path.join(root, name), "--mirror", "s3://hurried/one"]
        watch += ["--status", f"127.0.0.1:{free_port()}"]
        with open(os.path.join(root, name + ".log"), "wb") as log:
            return subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=log, **more)

    said = lambda name, text: text in open(os.path.join(root, name + ".log")).read()
    writer, number, until = start("hurried-1"), 0, time.time() + 180
    # As many commits as there can be.
    pieces = lambda: len(s3.list_objects_v2(Bucket="hurried", Prefix="one/journal-").get("Contents", []))
    other, began = None, None
    while other is None or not said("hurried-2", TURNING):
        assert time.time() < until, f"it did not take over; see {root}/hurried-2.log"
        try:
            writer.stdin.write(b"".join(lines(1, now(), number)))
            writer.stdin.flush()
        except BrokenPipeError:
            assert other is not None, "it ended by itself"
        number += 1
        time.sleep(0.1)
        if other is None and number % 50 == 0 and pieces() >= 60:
            other, began = start("hurried-2", env=environment), time.time()
    took_s = time.time() - began
    try:
        writer.stdin.write(b"".join(lines(1, now(), number)))
        writer.stdin.close()
    except BrokenPipeError:
        pass
    assert writer.wait(timeout=60) == 1 and said("hurried-1", "another sidecar has taken over")
    other.stdin.close()
    assert other.wait(timeout=60) == 0
    server.shutdown()
    print(f"hurried: the place of a writer that goes on is taken after {took_s:.1f} s")


class Lossy(Passing):
    """Now and then the answers to a few writes in a row are lost: more than the SDK repeats."""

    writes, lost = 0, 0

    def answer(self, body, status, content):
        if self.command == "PUT":
            Lossy.writes += 1
            if Lossy.writes % 25 < 5:
                Lossy.lost += 1
                return 500, b"<Error><Code>InternalError</Code></Error>"
        return status, content


def moved(highwater, root, keys, expected, chance):
    """A state that is kept in a bucket: each machine is lost with its disk, and another goes on."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket="states")
    queue = sqs.create_queue(QueueName="moved")["QueueUrl"]
    log = open(os.path.join(root, "moved.log"), "ab")
    _, environment = passing(Lossy)

    def start(state):
        watch = ["watch", "--sqs", queue, "--state", state, "--mirror", "s3://states/one", "--frontier", "delivery"]
        return subprocess.Popen([highwater, *watch, "--until-idle", "12s"], stderr=log, env=environment)

    def announce():
        for key in shuffled(keys, chance):
            sqs.send_message(QueueUrl=queue, MessageBody=message("trail", key, 0))

    announcer = threading.Thread(target=announce)
    announcer.start()
    kills = 12
    for machine in range(kills):
        process = start(os.path.join(root, f"machine-{machine}"))
        time.sleep(chance.uniform(0.3, 1.5))
        assert process.poll() is None, f"the sidecar ended by itself with {process.returncode}; see {log.name}"
        process.send_signal(signal.SIGKILL)
        process.wait()
    announcer.join()
    # One that was thought to be lost is still there: it hears that another is the writer, and ends.
    said = lambda: open(log.name).read().count(TURNING)
    before = said()
    old = start(os.path.join(root, "machine-old"))
    while said() == before:
        assert old.poll() is None, f"the sidecar ended by itself with {old.returncode}; see {log.name}"
        time.sleep(0.1)
    new = os.path.join(root, "machine-new")
    process = start(new)
    time.sleep(3)
    for key in keys[:20]:
        sqs.send_message(QueueUrl=queue, MessageBody=message("trail", key, 0))
    mute = ["mute", "--api", "nothing:AtAll", "--until", "1h", "--reason", "CHG-123", "--state", new]
    subprocess.run([highwater, *mute], check=True, stdout=subprocess.DEVNULL)
    # What else people keep in the directory stays there, and what they keep elsewhere is not overwritten.
    for name in ("highwater.toml", "slack-token"):
        with open(os.path.join(new, name), "w") as file:
            file.write("secret")
    status = process.wait(timeout=480)
    assert status == 0, f"exit status {status}; see {log.name}"
    found = s3.list_objects_v2(Bucket="states", Prefix="one/notes/")
    notes = sorted(found["Key"].removeprefix("one/notes/") for found in found["Contents"])
    assert notes == ["mutes.json"], notes
    s3.put_object(Bucket="states", Key="one/notes/slack-token", Body=b"of another machine")
    assert old.wait(timeout=30) == 1, "the older one goes on writing"
    assert b"another sidecar has taken over" in open(log.name, "rb").read()
    last = os.path.join(root, "machine-last")
    process = start(last)
    assert process.wait(timeout=480) == 0, log.name
    listed = subprocess.run([highwater, "mute", "--list", "--state", last], capture_output=True, text=True, check=True)
    assert not os.path.exists(os.path.join(last, "slack-token"))
    assert "CHG-123" in listed.stdout, f"what people muted has not moved: {listed.stdout}"
    if open(os.path.join(last, "insights.jsonl"), "rb").read() != expected:
        sys.exit(f"{last}/insights.jsonl differs from that of a scan")
    # A file of lines is few pieces, however often it grew.
    pieces = [found["Key"] for found in s3.list_objects_v2(Bucket="states", Prefix="one/lines-")["Contents"]]
    assert 0 < sum("insights.jsonl" in key for key in pieces) <= 12, pieces
    left = [found["Key"] for found in s3.list_objects_v2(Bucket="states", Prefix="one/snapshot-")["Contents"]]
    assert len(left) <= 2, left
    if open(os.path.join(new, "insights.jsonl"), "rb").read() != expected:
        sys.exit(f"{new}/insights.jsonl differs from that of a scan")
    assert Lossy.lost > 4
    print(f"moved to {kills + 3} machines, {Lossy.lost} answers of the bucket lost: the same insights")


class HeldElsewhere(threading.Thread):
    """The oldest messages are in the hands of a process that was killed, until long after the sidecar has read all else:
    a queue is not empty before they were handed over. It runs beside other checks, for it waits most of its time."""

    def __init__(self, highwater, root, keys):
        # Whatever else fails does not wait for it.
        super().__init__(daemon=True)
        self.sqs = boto3.client("sqs")
        self.queue = self.sqs.create_queue(QueueName="held")["QueueUrl"]
        for at in range(0, len(keys), 10):
            bodies = enumerate(message("trail", key, 0) for key in keys[at : at + 10])
            entries = [{"Id": str(number), "MessageBody": body} for number, body in bodies]
            self.sqs.send_message_batch(QueueUrl=self.queue, Entries=entries)
        # Fewer than a sidecar asks for: when they show again, they are all that it finds.
        asked = dict(QueueUrl=self.queue, MaxNumberOfMessages=9, VisibilityTimeout=600)
        self.held = self.sqs.receive_message(**asked)["Messages"]
        self.state, self.log = os.path.join(root, "held"), os.path.join(root, "held.log")
        watch = [highwater, "watch", "--sqs", self.queue, "--state", self.state, "--frontier", "delivery"]
        watch += ["--until-idle", "5s", "--status", f"127.0.0.1:{free_port()}"]
        self.process = subprocess.Popen(watch, stderr=open(self.log, "wb"))
        self.start()

    def run(self):
        shown = "ApproximateNumberOfMessages"
        asked = dict(QueueUrl=self.queue, AttributeNames=[shown])
        while self.sqs.get_queue_attributes(**asked)["Attributes"][shown] != "0":
            if self.process.poll() is not None:
                return
            time.sleep(0.5)
        for held in self.held:
            handle = held["ReceiptHandle"]
            self.sqs.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=handle, VisibilityTimeout=50)

    def check(self, expected):
        self.join()
        assert self.process.wait(timeout=480) == 0, self.log
        if open(os.path.join(self.state, "insights.jsonl"), "rb").read() != expected:
            sys.exit(f"{self.state}/insights.jsonl differs from that of a scan")
        print("what somebody else had in hand was waited for: the same insights")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("highwater")
    parser.add_argument("scratch")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    chance = random.Random(arguments.seed)
    root = os.path.join(arguments.scratch, "sidecar")
    os.makedirs(root)
    trail = os.path.join(root, "trail")
    simulate = ["simulate", "-o", trail, "--seed", str(arguments.seed), "--days", "12", "--accounts", "1", "--regions"]
    simulate += ["1", "--apis", "12", "--scale", "0.02", "--anomalies-per-week", "21"]
    subprocess.run([arguments.highwater, *simulate], check=True, stderr=subprocess.DEVNULL)
    batch = os.path.join(root, "batch")
    subprocess.run([arguments.highwater, "scan", trail + "/AWSLogs", "-o", batch, "--quiet", "--no-charts"], check=True)
    expected = open(os.path.join(batch, "insights.jsonl"), "rb").read()
    assert expected.count(b"\n") >= 4, "a trail with something to tell"

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    pushes(arguments.highwater, root, trail, expected)
    reloads(arguments.highwater, root, trail, expected)

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
    )
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket="trail")
    queue = sqs.create_queue(QueueName="trail")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    everything = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="trail", NotificationConfiguration=everything)

    state, live = os.path.join(root, "state"), os.path.join(root, "live.jsonl")
    log = open(os.path.join(root, "watch.log"), "wb")

    def start():
        watch = ["watch", "--sqs", queue, "--state", state, "--insights", live, "--frontier", "delivery"]
        return subprocess.Popen([arguments.highwater, *watch, "--until-idle", "12s"], stderr=log)

    # The bucket announces most itself; some of it we announce again, in the other shapes.
    def deliver():
        for number, key in enumerate(shuffled(objects(trail), chance)):
            with open(os.path.join(trail, key), "rb") as file:
                s3.put_object(Bucket="trail", Key=key, Body=file.read())
            if number % 7 == 0:
                sqs.send_message(QueueUrl=queue, MessageBody=message("trail", key, number // 7 % 5))
        # What nobody can read is parked, and does not come again.
        sqs.send_message(QueueUrl=queue, MessageBody="no message at all")
        sqs.send_message(QueueUrl=queue, MessageBody=message("trail", "AWSLogs/not-there.json.gz", 0))

    putter = threading.Thread(target=deliver)
    putter.start()
    process, kills = start(), 0
    while kills < arguments.kills:
        time.sleep(chance.uniform(0.02, 0.6))
        assert process.poll() is None, f"the sidecar ended by itself with {process.returncode}; see {log.name}"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        process = start()
    putter.join()
    began = time.time()
    try:
        status = process.wait(timeout=480)
    except subprocess.TimeoutExpired:
        process.kill()
        sys.exit(f"the sidecar did not come to an end; see {log.name}")
    assert status == 0, f"exit status {status}; see {log.name}"
    told = open(live, "rb").read()
    if told != expected:
        sys.exit(f"after {kills} kills {live} differs from {batch}/insights.jsonl")
    rejects = open(os.path.join(state, "rejects.jsonl")).read()
    assert "no message at all" not in rejects and "is not JSON" in rejects and "not-there" in rejects, rejects
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    assert all(int(left[name]) == 0 for name in names), left
    print(f"{kills} kills, then {time.time() - began:.0f} s to the end: the same {told.count(bytes([10]))} insights")
    held = HeldElsewhere(arguments.highwater, root, objects(trail))
    # The same bucket without its queue.
    listed = os.path.join(root, "listed")
    watch = ["watch", "--s3", "s3://trail", "--since", "2026-03-01", "--state", listed, "--frontier", "delivery"]
    subprocess.run([arguments.highwater, *watch, "--until-idle", "3s"], check=True, stderr=log, timeout=480)
    if open(os.path.join(listed, "insights.jsonl"), "rb").read() != expected:
        sys.exit(f"{listed}/insights.jsonl differs from that of a scan")
    print("listed: the same insights")
    moved(arguments.highwater, root, objects(trail), expected, chance)
    held.check(expected)
    raced(arguments.highwater, root)
    hurried(arguments.highwater, root)
    signalled(arguments.highwater, root)
    server.stop()


if __name__ == "__main__":
    main()
