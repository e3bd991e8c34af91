#!/usr/bin/env python3
"""Scores labelled real series with default settings and fails below the bars.

  series_benchmark.py HIGHWATER SERIES_DIRECTORY SCRATCH_DIRECTORY

SERIES_DIRECTORY holds ms-cloud-monitoring and nab-counts, each with NAME.csv and labels.json. The first is judged by the
incidents of the flags (see `incidents_f1`), the second by NAB's scorer (nab_score.py) at the default threshold and with a
threshold that never saw the file it is used on. docs/benchmarks-series.md has the figures; the bars leave a margin.
"""
import csv
import json
import os
import subprocess
import sys

import numpy as np

import nab_score

F1_MIN = 0.68
NAB_FIXED_MIN = 72.0
NAB_LEFT_OUT_MIN = 71.0

ROWS_APART_MAX = 3
SLACK_S = 600


def scored(highwater, series, out):
    with open(os.path.join(series, "labels.json")) as labels:
        names = sorted(json.load(labels))
    os.makedirs(out)
    files = [os.path.join(series, f"{name}.csv") for name in names]
    subprocess.run([highwater, "score", *files, "-o", out], check=True, stderr=subprocess.DEVNULL)
    return names


def incidents_f1(series, out, names):
    """Flags no more than three rows apart are one incident. A labelled window is found if one touches it within ten
    minutes; windows that lie below the median of the day on either side are neither asked for nor false. The first seven
    days, or the first fifth if that is shorter, do not count."""
    with open(os.path.join(series, "labels.json")) as labels:
        labels = json.load(labels)
    families = {}
    for name in names:
        with open(os.path.join(series, f"{name}.csv"), newline="") as file:
            rows = [(nab_score.seconds(row["timestamp_utc"]), float(row["value"] or "nan")) for row in csv.DictReader(file)]
        with open(os.path.join(out, f"{name}.csv"), newline="") as file:
            flags = np.array([row["flag"] == "1" for row in csv.DictReader(file)])
        times, values = np.array(rows).T
        assert len(flags) == len(times), name
        step = np.median(np.diff(times))
        day = max(1, int(86_400 / step))
        warm = int(min(7 * day, 0.2 * len(times)))
        slack = max(1, int(SLACK_S / step))
        windows = []
        for start, end in labels[name]:
            inside = np.flatnonzero((times >= nab_score.seconds(start)) & (times <= nab_score.seconds(end)))
            if len(inside):
                first, last = inside[0], inside[-1]
                near = np.concatenate([values[max(0, first - day) : first], values[last + 1 : last + day]])
                up = not len(near) or bool(values[inside].mean() > np.median(near))
                windows.append((first, last, up))
        flags[:warm] = False
        flagged = np.flatnonzero(flags)
        runs = np.split(flagged, np.flatnonzero(np.diff(flagged) > ROWS_APART_MAX) + 1) if len(flagged) else []

        def touches(run, window):
            return run[0] <= window[1] + slack and run[-1] >= window[0] - slack

        wanted = [window for window in windows if window[0] >= warm and window[2]]
        counts = families.setdefault(name.split("-")[0], np.zeros(3, int))
        counts += [
            sum(any(touches(run, window) for run in runs) for window in wanted),
            len(wanted),
            sum(not any(touches(run, window) for window in windows) for run in runs),
        ]
    for family, (found, wanted, false) in families.items():
        print(f"  {family}: {found} of {wanted} windows, {false} false incidents")
    found, wanted, false = sum(families.values())
    return 2 * found / (found + false + wanted)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    highwater, directory, scratch = sys.argv[1:]
    cloud, out = os.path.join(directory, "ms-cloud-monitoring"), os.path.join(scratch, "scored-cloud")
    f1 = incidents_f1(cloud, out, scored(highwater, cloud, out))
    print(f"  ms-cloud-monitoring: F1 {f1:.3f}")
    counts, out = os.path.join(directory, "nab-counts"), os.path.join(scratch, "scored-nab")
    scored(highwater, counts, out)
    nab = nab_score.evaluate(nab_score.load(counts, out), 1.0)
    nab.pop("files")
    print(f"  nab-counts: {nab}")
    for name, figure, bar in (
        ("F1", f1, F1_MIN),
        ("NAB at the default threshold", nab["at_threshold"], NAB_FIXED_MIN),
        ("NAB leaving one file out", nab["leave_one_out"], NAB_LEFT_OUT_MIN),
    ):
        if figure < bar:
            sys.exit(f"series_benchmark.py: {name} {figure} is below {bar}")


if __name__ == "__main__":
    main()
