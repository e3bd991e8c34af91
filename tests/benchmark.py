#!/usr/bin/env python3
"""Scans the benchmark's labelled trails with default settings and fails below the bars.

  benchmark.py HIGHWATER RATEBENCH SCRATCH_DIRECTORY --seeds N [N ...]

Two seeds are a check that nothing broke; the figures in the README come from more.
"""
import argparse
import json
import os
import subprocess
import sys

F1_MIN = 0.85
FALSE_ALARMS_PER_WEEK_MAX = 2.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("highwater")
    parser.add_argument("ratebench")
    parser.add_argument("scratch")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    options = parser.parse_args()
    trails = [os.path.join(options.scratch, f"seed-{seed}") for seed in options.seeds]
    ratebench = [sys.executable, options.ratebench]
    made = [
        subprocess.Popen([*ratebench, "gen", "--out", trail, "--seed", str(seed)])
        for seed, trail in zip(options.seeds, trails)
    ]
    # All are waited for, so that a failure leaves nothing running.
    if any([process.wait() for process in made]):
        sys.exit("benchmark.py: making a trail failed")
    insights = []
    for trail in trails:
        insights.append(f"{trail}.jsonl")
        with open(insights[-1], "wb") as file:
            subprocess.run([options.highwater, "scan", f"{trail}/AWSLogs", "--quiet"], stdout=file, check=True)
    truths = [f"{trail}/truth.json" for trail in trails]
    score = [*ratebench, "score", "--json", "--truth", *truths, "--insights", *insights]
    result = json.loads(subprocess.run(score, stdout=subprocess.PIPE, check=True).stdout)
    for key, value in result.items():
        print(f"  {key}: {value}")
    if result["f1"] < F1_MIN:
        sys.exit(f"benchmark.py: F1 {result['f1']} is below {F1_MIN}")
    if result["false_alarms_per_account_week"] > FALSE_ALARMS_PER_WEEK_MAX:
        sys.exit(f"benchmark.py: more than {FALSE_ALARMS_PER_WEEK_MAX} false alarms per account and week")


if __name__ == "__main__":
    main()
