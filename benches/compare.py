#!/usr/bin/env python3
"""Measures highwater beside libdeflate-gunzip, chdb and DuckDB on the same files, and prints ratios with their bars.

  compare.py HIGHWATER FOLDER [--rounds N] [--no-peers] [--no-million]

Called by compare.sh. Every contender is a process of its own; its CPU seconds (user and system), wall seconds and peak
resident memory are what the kernel says when it ends. Contenders take turns, so that whatever else the machine does
falls on all of them; the median over the rounds counts, and for the gain from a second thread the best wall time,
which other work on the machine disturbs least. Each uses one thread unless its name says otherwise.
"""
import argparse
import glob
import gzip
import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FILES_PER_GUNZIP = 2_000

# Peers run in Python. What loading them costs is not their answer's price: each tells it, and it is taken off.
LOADED = """
import resource
own = resource.getrusage(resource.RUSAGE_SELF)
loading = own.ru_utime + own.ru_stime
"""

DUCKDB = f"""
import sys, duckdb
{LOADED}
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute("SET threads = 1")
print(connection.execute('''
    WITH record AS (
        SELECT unnest(from_json(json, '{{"Records": [{{"recipientAccountId": "VARCHAR", "awsRegion": "VARCHAR",
            "eventSource": "VARCHAR", "eventName": "VARCHAR", "eventTime": "VARCHAR"}}]}}').Records) AS r
        FROM read_json_objects(?, format = 'unstructured', maximum_object_size = 268435456)
    ), counted AS (
        SELECT r.recipientAccountId, r.awsRegion, r.eventSource, r.eventName, r.eventTime[:16] AS minute, count(*) AS n
        FROM record GROUP BY ALL
    )
    SELECT sum(n)::BIGINT, count(*) FROM counted''', [sys.argv[1]]).fetchone(), loading)
"""

CHDB = f"""
import sys, chdb
{LOADED}
print(chdb.query('''
    SELECT sum(n), count() FROM (
        SELECT count() AS n
        FROM file('$PATH', JSONEachRow, 'Records Array(Tuple(recipientAccountId String, awsRegion String,
            eventSource String, eventName String, eventTime String))')
        ARRAY JOIN Records AS r
        GROUP BY r.recipientAccountId, r.awsRegion, r.eventSource, r.eventName, substring(r.eventTime, 1, 16)
    )
    SETTINGS max_threads = 1, input_format_skip_unknown_fields = 1,
        input_format_json_ignore_unknown_keys_in_named_tuple = 1,
        input_format_json_defaults_for_missing_elements_in_named_tuple = 1
    '''.replace('$PATH', sys.argv[1]), 'TSV').bytes().decode(), loading)
"""


class Usage:
    """What processes used together: CPU and wall seconds, and the largest peak of memory among them, in MB."""

    def __init__(self):
        self.cpu = self.wall = self.peak = 0.0
        self.output = ""

    def run(self, command, folder=None):
        started = time.monotonic()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors)
            self.output = process.stdout.read().decode(errors="replace")
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                errors.seek(0)
                told = errors.read().decode(errors="replace")[-2000:]
                sys.exit(f"compare.py: {' '.join(command)[:200]} failed with {process.returncode}:\n{told}")
        self.wall += time.monotonic() - started
        self.cpu += usage.ru_utime + usage.ru_stime
        self.peak = max(self.peak, usage.ru_maxrss / 1024 * 1.048576)
        return self


def gunzip(root, files):
    """Inflates all files, as many at a time as a command line holds; what comes out is thrown away."""
    usage = Usage()
    for start in range(0, len(files), FILES_PER_GUNZIP):
        names = files[start:start + FILES_PER_GUNZIP]
        usage.run(["sh", "-c", 'exec libdeflate-gunzip -c -k -- "$@" > /dev/null', "gunzip", *names], root)
    return usage


def peer(script, pattern):
    usage = Usage().run([sys.executable, "-c", script, pattern])
    usage.cpu -= float(usage.output.split()[-1])
    return usage


def quiet_scan(highwater, trail, threads):
    """A scan whose records go nowhere: `sh` replaces itself, so that what is measured is the scan."""
    words = ["sh", "-c", 'exec "$@" > /dev/null', "scan"]
    return Usage().run([*words, highwater, "scan", trail, "--threads", str(threads), "--quiet"])


def groups(output):
    """Calls and groups, from whatever a contender prints."""
    return tuple(int(number) for number in re.findall(r"\d+", output)[:2])


def make_corpus(highwater, folder):
    corpus = os.path.join(folder, "corpus-1100-3")
    told = os.path.join(corpus, "made.txt")
    if not os.path.exists(told):
        shutil.rmtree(corpus, ignore_errors=True)
        command = [highwater, "simulate", "--target", "1100", "--seed", "3", "-o", corpus]
        made = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
        with open(told, "w", encoding="utf-8") as file:
            file.write(re.sub(r",? to .*", "", made.stderr.strip()))
    with open(told, encoding="utf-8") as file:
        print(f"corpus: {file.read()}")
    return os.path.join(corpus, "AWSLogs")


MILLION_ACCOUNTS, MILLION_APIS, MILLION_CALLS, MILLION_DAYS = 2_000, 500, 4, 28
ACCOUNTS_PER_FILE = 100


def write_day(arguments):
    """One day of the million series, one object for each hundred accounts. The same in every run."""
    root, day = arguments
    date = f"2026-06-{day + 1:02}"
    for first in range(0, MILLION_ACCOUNTS, ACCOUNTS_PER_FILE):
        chance = random.Random(day * MILLION_ACCOUNTS + first)
        below, bits = chance.random, chance.getrandbits
        owner = f"{100_000_000_000 + first}"
        name = f"{owner}_CloudTrail_us-east-1_{date.replace('-', '')}T2355Z_{bits(64):016x}.json.gz"
        folder = os.path.join(root, owner, "CloudTrail", "us-east-1", *date.split("-"))
        os.makedirs(folder, exist_ok=True)
        records = []
        for account in range(first, first + ACCOUNTS_PER_FILE):
            number = 100_000_000_000 + account
            for api in range(MILLION_APIS):
                # Each series is called on four days of the 28, a week apart.
                if (account * 7 + api) % (MILLION_DAYS // MILLION_CALLS) != day % (MILLION_DAYS // MILLION_CALLS):
                    continue
                minute = int(below() * 1_430)
                # An account has 20 callers, each with a session a day, an address and an agent.
                job = api % 20
                event_id = f"{bits(128):032x}"
                event_id = "-".join((event_id[:8], event_id[8:12], event_id[12:16], event_id[16:20], event_id[20:]))
                records.append(
                    f'{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole",'
                    f'"arn":"arn:aws:sts::{number}:assumed-role/job-{job}/run-{day}",'
                    f'"accountId":"{number}","accessKeyId":"ASIA{account:04}{job:04}{day:08}"}},'
                    f'"eventTime":"{date}T{minute // 60:02}:{minute % 60:02}:{int(below() * 60):02}Z",'
                    f'"eventSource":"service{api % 50}.amazonaws.com","eventName":"UpdateThing{api}",'
                    f'"awsRegion":"us-east-1","sourceIPAddress":"10.{account // 256}.{account % 256}.{job}",'
                    f'"userAgent":"Boto3/1.42.{job} md/Botocore#1.42.{job} ua/2.1 lang/python#3.13.1",'
                    f'"requestParameters":null,"responseElements":null,"eventID":"{event_id}","readOnly":false,'
                    f'"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{number}",'
                    f'"eventCategory":"Management"}}'
                )
        with gzip.open(os.path.join(folder, name), "wb", compresslevel=1) as file:
            file.write(b'{"Records":[' + ",".join(records).encode() + b"]}")


def make_million(folder):
    """A million series, each called four times in 28 days: more than `highwater simulate` is made for."""
    root = os.path.join(folder, "million", "AWSLogs")
    complete = os.path.join(folder, "million", "complete")
    if not os.path.exists(complete):
        shutil.rmtree(root, ignore_errors=True)
        with multiprocessing.Pool(os.cpu_count()) as pool:
            pool.map(write_day, [(root, day) for day in range(MILLION_DAYS)], chunksize=1)
        open(complete, "w", encoding="utf-8").close()
    return root


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("highwater")
    parser.add_argument("folder", help="corpora are kept here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-million", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    highwater = os.path.abspath(options.highwater)
    trail = make_corpus(highwater, options.folder)
    files = sorted(glob.glob("**/*.json.gz", root_dir=trail, recursive=True))
    pattern = os.path.join(trail, "**", "*.json.gz")

    contenders = {
        "libdeflate-gunzip": lambda: gunzip(trail, files),
        "tally": lambda: Usage().run([highwater, "tally", "--count-only", "--threads", "1", trail]),
        "scan": lambda: quiet_scan(highwater, trail, 1),
        "scan, 2 threads": lambda: quiet_scan(highwater, trail, 2),
    }
    if not options.no_peers:
        contenders["chdb"] = lambda: peer(CHDB, pattern)
        contenders["DuckDB"] = lambda: peer(DUCKDB, pattern)

    # The first round warms the page cache and is not counted.
    results = {name: [] for name in contenders}
    print(f"load before: {os.getloadavg()[0]:.2f}", flush=True)
    for turn in range(options.rounds + 1):
        for name, run in contenders.items():
            usage = run()
            if turn > 0:
                results[name].append(usage)
    print(f"load after: {os.getloadavg()[0]:.2f}; {len(files)} files, {options.rounds} rounds\n")

    def median(name, of):
        return statistics.median(getattr(usage, of) for usage in results[name])

    print(f"{'':20} {'CPU s':>8} {'wall s':>8} {'peak MB':>8}")
    for name in contenders:
        print(f"{name:20} {median(name, 'cpu'):8.2f} {median(name, 'wall'):8.2f} {median(name, 'peak'):8.0f}")
    bars = []

    def bar(what, value, at_most=None, at_least=None):
        good = value <= at_most if at_most is not None else value >= at_least
        limit = f"at most {at_most}" if at_most is not None else f"at least {at_least}"
        bars.append(good)
        print(f"{what:50} {value:8.2f}   {limit:14} {'ok' if good else 'MISSED'}", flush=True)

    print()
    limit = median("libdeflate-gunzip", "cpu")
    tally = median("tally", "cpu")
    bar("CPU of tally / CPU of libdeflate-gunzip", tally / limit, at_most=1.65)
    bar("CPU of scan / CPU of libdeflate-gunzip", median("scan", "cpu") / limit, at_most=2.3)
    best = {name: min(usage.wall for usage in usages) for name, usages in results.items()}
    bar("best wall of scan / best wall with 2 threads", best["scan"] / best["scan, 2 threads"], at_least=1.8)
    bar("peak memory of scan, MB", max(median("scan", "peak"), median("scan, 2 threads", "peak")), at_most=300)
    if not options.no_peers:
        bar("CPU of chdb / CPU of tally", median("chdb", "cpu") / tally, at_least=2)
        bar("CPU of DuckDB / CPU of tally", median("DuckDB", "cpu") / tally, at_least=4)
        ours = groups(results["tally"][0].output)
        for name in ["chdb", "DuckDB"]:
            theirs = groups(results[name][0].output)
            if theirs != ours:
                sys.exit(f"compare.py: {name} counts {theirs} calls and groups, tally {ours}")
        print(f"all three count the same: {ours[0]} calls in {ours[1]} groups")
    if not options.no_million:
        million = make_million(options.folder)
        counted = subprocess.run([highwater, "tally", "--count-only", million], check=True, capture_output=True)
        calls, _, series = (int(number) for number in re.findall(rb"\d+", counted.stdout)[:3])
        if series != MILLION_ACCOUNTS * MILLION_APIS:
            sys.exit(f"compare.py: {series} series were made, not {MILLION_ACCOUNTS * MILLION_APIS}")
        usage = quiet_scan(highwater, million, 2)
        print(f"\n{series} series, {calls} calls: {usage.cpu:.1f} CPU s, {usage.wall:.1f} s")
        bar("peak memory of scan, a million series, MB", usage.peak, at_most=800)
    sys.exit(0 if all(bars) else 1)


if __name__ == "__main__":
    main()
