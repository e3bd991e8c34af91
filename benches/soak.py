#!/usr/bin/env python3
"""Load on the sidecar: so many events a second over so many series, for so long; CPU, memory and latency of
`highwater watch`.

  soak.py HIGHWATER SCRATCH_DIRECTORY [--rate 5000] [--series 200000] [--minutes 30] [--lateness 30m] [--memory 256MiB]

First a past of three days is learned in which the busy series are as busy at this time of day and all others are called
in most hours, so that there are verdicts, what is usual is no alarm, and each series has learned its records and its
season. Then events are pushed over HTTP as they happen, gzipped, up to five minutes late. One series in ten is busy; a
tenth of the events is spread over all of them. Every ten seconds somebody new bursts: 2,000 calls in one object; the
time from its arrival to its provisional Start at a receiver of webhooks is taken. Every minute a line: seconds of CPU
per second, resident memory, how far the frontier is behind.
"""
import argparse
import glob
import gzip
import http.client
import http.server
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request

ACCOUNTS = 50
BURST = 2_000
DAYS = 3


def event(series, stamp, chance, role=None):
    account = f"{series % ACCOUNTS:012d}"
    high, low = chance.getrandbits(64), chance.getrandbits(64)
    return (
        f'{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","arn":"arn:aws:sts::{account}:assumed-role/{role or f"r{series % 7}"}/s",'
        f'"accountId":"{account}"}},"eventTime":"{stamp}","eventSource":"ec2.amazonaws.com","eventName":"Call{series // ACCOUNTS}",'
        f'"awsRegion":"us-east-1","sourceIPAddress":"10.0.0.{series % 200}","userAgent":"agent","readOnly":false,'
        f'"eventID":"{high >> 32:08x}-{high >> 16 & 0xFFFF:04x}-{high & 0xFFFF:04x}-{low >> 48:04x}-{low & 0xFFFFFFFFFFFF:012x}","eventType":"AwsApiCall","managementEvent":true,'
        f'"recipientAccountId":"{account}","eventCategory":"Management"}}\n'
    )


def stamp_of(second):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def learn(arguments, state, chance):
    """Three days like the one to come, at the time of day of the run. The series that are not busy have in
    three hours around it as many calls in a minute as they will have in an hour, and one call in each of most others.
    The busy ones are the last to be called. Without event IDs, so that equal lines are equal calls, quickly written."""
    folder = os.path.join(arguments.scratch, "past")
    os.makedirs(folder, exist_ok=True)
    now = int(time.time()) // 60 * 60
    part = 0

    def write(blocks):
        nonlocal part
        part += 1
        with gzip.open(os.path.join(folder, f"past-{part}.json.gz"), "wb", compresslevel=1) as file:
            file.writelines(blocks)

    def line(series, second):
        text = event(series, stamp_of(second), chance)
        cut = text.index('"eventID"')
        return (text[:cut] + text[text.index('"eventType"') :]).encode()

    # What each series gets in a minute of the run, as a Poisson number by its rate.
    busy = arguments.series // 10
    per_hour = arguments.rate * 3_600 * 0.1 / arguments.series
    epoch = stamp_of(0).encode()
    for first in range(busy, arguments.series, 10_000):
        lines = [line(series, 0) for series in range(first, min(first + 10_000, arguments.series))]
        for hour in range(-DAYS * 24, -2):
            near = (hour + 1) % 24 <= 2
            if near or chance.random() < 0.8:
                stamp = stamp_of(now + hour * 3_600 + chance.randrange(60) * 60).encode()
                times = round(per_hour + 3 * per_hour**0.5) if near else 1
                write(text.replace(epoch, stamp) * times for text in lines)
    per_minute = arguments.rate * 60 * 0.9 / busy + arguments.rate * 60 * 0.1 / arguments.series
    lines = [line(series, 0) for series in range(busy)]
    # To the end of the run, whenever it begins: beyond that every busy series would be unusual.
    minutes = range(-6, int(arguments.minutes) + 25)
    for day, minute in [*itertools.product(range(DAYS, 0, -1), minutes), (0, -121)]:
        stamp = stamp_of(now - day * 86_400 + minute * 60).encode()
        for first in range(0, busy, 10_000):
            counts = (max(0, round(chance.gauss(per_minute, per_minute**0.5))) for _ in range(10_000))
            write(text.replace(epoch, stamp) * count for text, count in zip(lines[first : first + 10_000], counts))
    watch = [arguments.highwater, "watch", "--dir", folder, "--state", state, "--frontier", "clock", "--lateness", "120m"]
    process = subprocess.Popen(watch + ["--status", f"127.0.0.1:{arguments.port + 1}"], stderr=subprocess.DEVNULL)
    for _ in range(1_800):
        time.sleep(1)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{arguments.port + 1}/metrics") as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            continue
        open_records = next((float(line.split()[-1]) for line in lines if line.startswith("highwater_records_open ")), 1)
        closed = next((float(line.split()[-1]) for line in lines if "fate=\"scored\"" in line), 0)
        if closed > arguments.series and open_records == 0:
            break
    process.terminate()
    process.wait()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


class Bursts(http.server.BaseHTTPRequestHandler):
    """A receiver of insights: when the decisive objects were sent, and how long until they were told here."""

    sent, took = {}, []
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        now = time.time()
        record = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        details = record.get("insightDetails")
        if details and (sent := Bursts.sent.pop((record["recipientAccountId"], details["eventName"]), None)):
            Bursts.took.append(now - sent)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("highwater")
    parser.add_argument("scratch")
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--series", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lateness", default="30m")
    parser.add_argument("--memory")
    parser.add_argument("--port", type=int, default=19_465)
    arguments = parser.parse_args()
    os.makedirs(arguments.scratch, exist_ok=True)
    state = os.path.join(arguments.scratch, f"soak-{os.getpid()}")
    chance = random.Random(1)
    learn(arguments, state, chance)
    port = arguments.port
    watch = [arguments.highwater, "watch", "--listen", f"127.0.0.1:{port}", "--state", state, "--lateness", arguments.lateness]
    watch += ["--status", f"127.0.0.1:{port + 2}"]
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bursts)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    watch += ["--webhook", f"http://127.0.0.1:{receiver.server_port}/"]
    if arguments.memory:
        watch += ["--memory", arguments.memory]
    log = open(os.path.join(arguments.scratch, "log"), "w")
    if arguments.memory:
        # What was learned without a ceiling is brought below it first: a state is as large as it was when it was written.
        process = subprocess.Popen(watch, stderr=log)
        time.sleep(20)
        process.terminate()
        process.wait()
    process = subprocess.Popen(watch, stderr=log)
    tick = os.sysconf("SC_CLK_TCK")

    def cpu():
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / tick

    def memory(what):
        with open(f"/proc/{process.pid}/status") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith(what))

    def metrics():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[:1] != "#"}

    def push(bodies):
        """Sends objects one after another; a pool of these, as an answer waits for the disk."""
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            body, burst = bodies.pop() if bodies else (None, None)
            if body is None:
                time.sleep(0.005)
                continue
            if burst:
                Bursts.sent[burst] = time.time()
            while True:
                try:
                    connection.request("POST", "/records", body)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        break
                except OSError:
                    connection.close()
                time.sleep(0.2)

    while True:
        try:
            metrics()
            break
        except OSError:
            time.sleep(0.1)
    bodies = []
    for _ in range(24):
        threading.Thread(target=push, args=(bodies,), daemon=True).start()
    # Made once, with the time left open: the maker must not take the cores from what is measured.
    began = last = time.time()
    first_cpu = last_cpu = cpu()
    sent, next_burst, told = 0, began + 10, 0
    while time.time() - began < arguments.minutes * 60 and process.poll() is None:
        now = time.time()
        due = int((now - began) * arguments.rate) - sent
        stamps = [stamp_of(now - late) for late in range(300)]
        lines = []
        for _ in range(due):
            busy = chance.random() < 0.9
            series = int(chance.random() * (arguments.series // 10 if busy else arguments.series))
            lines.append(event(series, stamps[int(chance.random() * 300)], chance))
        if lines:
            bodies.insert(0, (gzip.compress("".join(lines).encode(), 1), None))
            sent += due
        if now >= next_burst:
            series = arguments.series // 10 + told
            text = "".join(event(series, stamps[0], chance, "intruder") for _ in range(BURST))
            bodies.insert(0, (gzip.compress(text.encode(), 1), (f"{series % ACCOUNTS:012d}", f"Call{series // ACCOUNTS}")))
            next_burst, told, sent = now + 10, told + 1, sent + BURST
        if now - last >= 60:
            used, figures = cpu(), metrics()
            late = figures['highwater_records_total{fate="late"}']
            print(
                f"{(now - began) / 60:5.1f} min: {(used - last_cpu) / (now - last):.2f} cores, {memory('VmRSS')} MiB (peak {memory('VmHWM')}), "
                f"{figures['highwater_records_open'] / 1e6:.2f} M open, {figures['highwater_series']:.0f} series, "
                f"{figures['highwater_series_evicted_total']:.0f} evicted, {figures['highwater_closed_early_total']:.0f} early, "
                f"frontier {figures.get('highwater_frontier_age_seconds', 0):.0f} s behind, commit {figures['highwater_commit_lag_seconds']:.2f} s, "
                f"{figures['highwater_snapshots_total']:.0f} snapshots, {sent / 1e6:.2f} M sent, {len(bodies)} wait, "
                f"{late:.0f} late, "
                f"{len(Bursts.took)} of {told} told, p50 {percentile(Bursts.took, 0.5):.2f} s, p99 {percentile(Bursts.took, 0.99):.2f} s",
                flush=True,
            )
            last, last_cpu = now, used
        time.sleep(max(0.0, 0.2 - (time.time() - now)))
    print(f"{(cpu() - first_cpu) / (time.time() - began):.3f} cores over all, peak {memory('VmHWM')} MiB; longest wait {max(Bursts.took, default=0):.2f} s")
    journal = sum(os.path.getsize(path) for path in glob.glob(os.path.join(state, "journal-*")))
    with open(f"/proc/{process.pid}/io") as file:
        written = next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))
    print(f"{written / 1e6:.0f} MB written, {os.path.getsize(os.path.join(state, 'snapshot')) / 1e6:.0f} MB snapshot, {journal / 1e6:.0f} MB journal")
    process.terminate()
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
