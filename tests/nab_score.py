#!/usr/bin/env python3
"""The scorer of the Numenta Anomaly Benchmark, standard profile, for scored series.

  nab_score.py --series DIR --out DIR [--threshold 1.0] [--json]

--series holds NAME.csv (timestamp_utc,value) and labels.json {NAME: [[start, end], ...]}; --out holds NAME.csv with a
column `score`, one row per input row. Written from the published definition (Lavin and Ahmad, "Evaluating real-time
anomaly detection algorithms: the Numenta Anomaly Benchmark", 2015), not from NAB's code:

- Every row whose score reaches the threshold is a detection. The first 15 % of a file, at most 750 rows, do not count.
- In a window the earliest detection counts sigma(y) / sigma(-1), y = -1 at the window's first row, rising to 0 after its
  last; sigma(y) = 2 / (1 + exp(5 y)) - 1. A window without any costs 1.
- Any other detection costs 0.11 times -sigma(y), y being its distance past the last window in window widths (less one
  row), and 0.11 before the first window and from three widths on.
- 0 is what a detector without detections gets, 100 a perfect one; files are summed before that.

Prints the score at one given threshold, and three in which a threshold is chosen for the best sum over some files: over
all (in sample), over all but the one scored (leave one out), and over a random half for the other half (100 halvings).
"""
import argparse
import csv
import json
import os
from datetime import datetime

import numpy as np

FALSE_POSITIVE = 0.11
PROBATION_SHARE, PROBATION_ROWS_MAX = 0.15, 750


def sigma(y):
    return 2.0 / (1.0 + np.exp(5.0 * np.asarray(y, float))) - 1.0


class File:
    """One file: for any threshold, what NAB makes of it."""

    def __init__(self, times, score, windows):
        rows = len(score)
        probation = min(int(PROBATION_SHARE * rows), PROBATION_ROWS_MAX)
        self.score = np.where(np.arange(rows) < probation, -np.inf, score)
        self.windows = []
        outside = np.ones(rows, bool)
        cost = np.full(rows, -FALSE_POSITIVE)
        for start, end in windows:
            inside = np.flatnonzero((times >= start) & (times <= end))
            if not len(inside):
                raise SystemExit("nab_score.py: a window holds no row")
            first, last = inside[0], inside[-1]
            width = last - first + 1
            worth = sigma((np.arange(first, last + 1) - last - 1) / width) / sigma(-1.0)
            self.windows.append((first, last, worth))
            outside[first:last + 1] = False
            past = np.arange(last + 1, rows) - last
            y = past / max(width - 1, 1)
            cost[last + 1:] = FALSE_POSITIVE * np.where(y > 3.0, -1.0, sigma(np.minimum(y, 3.0)))
        self.outside = outside
        self.cost = cost

    def raw(self, threshold):
        found = self.score >= threshold
        total = self.cost[found & self.outside].sum()
        for first, last, worth in self.windows:
            hits = np.flatnonzero(found[first:last + 1])
            total += worth[hits[0]] if len(hits) else -1.0
        return total

    def counts(self, threshold):
        found = self.score >= threshold
        hit = sum(bool(found[first:last + 1].any()) for first, last, _ in self.windows)
        return hit, int((found & self.outside).sum())


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def load(series, out):
    files = {}
    with open(os.path.join(series, "labels.json")) as labels:
        labels = json.load(labels)
    for name in sorted(labels):
        with open(os.path.join(series, f"{name}.csv"), newline="") as file:
            times = np.array([seconds(row["timestamp_utc"]) for row in csv.DictReader(file)])
        with open(os.path.join(out, f"{name}.csv"), newline="") as file:
            score = np.array([float(row["score"] or 0.0) for row in csv.DictReader(file)])
        if len(score) != len(times):
            raise SystemExit(f"nab_score.py: {name}: {len(score)} rows out for {len(times)} in")
        files[name] = File(times, score, [(seconds(a), seconds(b)) for a, b in labels[name]])
    return files


def evaluate(files, threshold):
    names = list(files)
    windows = np.array([len(files[name].windows) for name in names])

    def normal(raw, count):
        return float(round(100.0 * (raw + count) / (2.0 * count), 1))

    # Tenths, as a user would choose one: finer ones only follow the noise of twelve files.
    candidates = np.round(np.arange(0.1, 5.01, 0.1), 1)
    raw = np.array([[files[name].raw(candidate) for candidate in candidates] for name in names])
    fixed = np.array([files[name].raw(threshold) for name in names])
    best = raw.sum(0).argmax()
    others = [(raw.sum(0) - raw[place]).argmax() for place in range(len(names))]
    left_out = np.array([raw[place, choice] for place, choice in enumerate(others)])
    random = np.random.default_rng(1)
    halves = []
    for _ in range(100):
        order = random.permutation(len(names))
        a, b = order[: len(names) // 2], order[len(names) // 2 :]
        halves.append(sum(raw[test, raw[fit].sum(0).argmax()].sum() for fit, test in ((a, b), (b, a))))
    total = windows.sum()
    per_file = {
        name: {
            "windows": int(windows[place]),
            "found": files[name].counts(threshold)[0],
            "false_rows": files[name].counts(threshold)[1],
            "at_threshold": normal(fixed[place], windows[place]),
            "leave_one_out": normal(left_out[place], windows[place]),
            "oracle": normal(raw[place].max(), windows[place]),
            "oracle_threshold": float(round(candidates[raw[place].argmax()], 2)),
        }
        for place, name in enumerate(names)
    }
    return {
        "threshold": threshold,
        "at_threshold": normal(fixed.sum(), total),
        "in_sample": normal(raw[:, best].sum(), total),
        "in_sample_threshold": float(round(candidates[best], 2)),
        "leave_one_out": normal(left_out.sum(), total),
        "split_half_mean": normal(np.mean(halves), total),
        "oracle_per_file": normal(raw.max(1).sum(), total),
        "files": per_file,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threshold", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = evaluate(load(options.series, options.out), options.threshold)
    if options.json:
        print(json.dumps(result))
        return
    for name, file in result.pop("files").items():
        print(f"{name:28} {file}")
    print(result)


if __name__ == "__main__":
    main()
