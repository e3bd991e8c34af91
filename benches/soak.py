#!/usr/bin/env python3
"""Load on the sidecar: so many events a second over so many series, for so long; CPU and memory of `highwater watch`.

  soak.py HIGHWATER SCRATCH_DIRECTORY [--rate 5000] [--series 200000] [--minutes 30]

Events come over standard input as they happen, up to five minutes late. One series in ten is busy, the others are
hardly ever called. Every minute a line: seconds of CPU per second, resident memory, how far the frontier is behind.
"""
import argparse
import os
import random
import subprocess
import sys
import time
import urllib.request
import uuid


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("highwater")
    parser.add_argument("scratch")
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--series", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    port = 19_465
    state = os.path.join(arguments.scratch, f"soak-{os.getpid()}")
    watch = [arguments.highwater, "watch", "-", "--state", state, "--status", f"127.0.0.1:{port}"]
    process = subprocess.Popen(watch, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    chance = random.Random(1)
    tick = os.sysconf("SC_CLK_TCK")

    def cpu():
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / tick

    def memory():
        with open(f"/proc/{process.pid}/status") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmRSS"))

    def metric(name):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), float("nan"))

    began = last = time.time()
    sent, last_cpu, slice_s = 0, cpu(), 0.1
    while time.time() - began < arguments.minutes * 60:
        due = int((time.time() - began) * arguments.rate) - sent
        lines = []
        now = time.time()
        for _ in range(due):
            busy = chance.random() < 0.9
            series = chance.randrange(arguments.series // 10) if busy else chance.randrange(arguments.series)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - chance.random() * 300))
            lines.append(
                f'{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","arn":"arn:aws:sts::{series % 50:012d}:assumed-role/r{series % 7}/s",'
                f'"accountId":"{series % 50:012d}"}},"eventTime":"{stamp}","eventSource":"ec2.amazonaws.com","eventName":"Call{series // 50}",'
                f'"awsRegion":"us-east-1","sourceIPAddress":"10.0.0.{series % 200}","userAgent":"agent","readOnly":false,'
                f'"eventID":"{uuid.UUID(int=chance.getrandbits(128))}","eventType":"AwsApiCall","managementEvent":true,'
                f'"recipientAccountId":"{series % 50:012d}","eventCategory":"Management"}}\n'
            )
        process.stdin.write("".join(lines).encode())
        process.stdin.flush()
        sent += due
        if time.time() - last >= 60:
            used = cpu()
            print(
                f"{(time.time() - began) / 60:5.1f} min: {(used - last_cpu) / (time.time() - last):.2f} cores, "
                f"{memory()} MB, {metric('highwater_records_open'):.0f} open, {metric('highwater_series'):.0f} series, "
                f"frontier {metric('highwater_frontier_age_seconds'):.0f} s behind, {sent} sent",
                flush=True,
            )
            last, last_cpu = time.time(), used
        time.sleep(max(0.0, slice_s - (time.time() - now)))
    process.stdin.close()
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
