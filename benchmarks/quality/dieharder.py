"""Runs dieharder over every stream of random bits: `python -m benchmarks.quality.dieharder [stream ...]`, half an hour.

Needs the program `dieharder` (Debian: `apt-get install dieharder`). Writes benchmarks/results/dieharder.json, one row a
stream and test; rows of streams that were not run are kept. A good source fails nothing. dieharder calls a row weak below
0.005 and above 0.995; not all of its p-values are uniform and the rows of a stream hang together, so the Mersenne twister
that it brings along goes the same way twice, as a control: a share of weak rows like its own is to be expected. A weak row
is run again on a later stretch of its stream, and the row then has both p-values.
"""

import json
import shutil
import subprocess
import sys
from typing import IO

import torch

from benchmarks.measure import RESULTS, write
from benchmarks.quality.streams import CHUNK, STREAMS, words

# All that dieharder calls reliable, without 17, 201 to 204 and 5 to 7, which take hours or are called suspect.
TESTS = (0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 15, 16, 100, 101, 102, 200, 205, 206, 207, 208, 209)
OPTIONS = {200: ("-n", "3")}
FIELDS = ("test_name", "ntuple", "tsamples", "psamples", "pvalues", "assessment")
AGAIN = 1 << 31  # where the second stretch begins; the first are shorter
TWISTER = "13"  # mt19937_1999
CONTROLS = ("control 1", "control 2")


def pour(stream: str, first: int, sink: IO[bytes]) -> int:
    """Writes the words of a stream until the reader closes; returns how many."""
    poured = 0
    try:
        while True:
            sink.write(words(stream, first + poured).to(torch.uint32).numpy().tobytes())
            poured += CHUNK
    except BrokenPipeError:
        return poured


def run(stream: str, test: int, first: int = 0) -> list[dict[str, object]]:
    """Runs one test on one stream; returns its rows."""
    options = ["-d", str(test), *OPTIONS.get(test, ()), *(part for field in FIELDS for part in ("-D", field))]
    if stream in CONTROLS:
        seed = str(int(stream.split()[1]) + first)
        command = ["dieharder", "-g", TWISTER, "-S", seed, *options]
        return parse(stream, subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    command = ["dieharder", "-g", "200", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        poured = pour(stream, first, process.stdin)
        out = process.stdout.read().decode()
        try:
            process.stdin.close()
        except BrokenPipeError:  # what was left in the buffer has no reader
            pass
    assert poured < AGAIN, (test, poured)
    return parse(stream, out)


def parse(stream: str, out: str) -> list[dict[str, object]]:
    """Returns the rows of what dieharder printed."""
    rows = []
    for line in out.splitlines():
        name, ntuple, tsamples, psamples, p, verdict = (field.strip() for field in line.split("|"))
        row = {"stream": stream, "test": name, "ntuple": int(ntuple), "samples": int(tsamples), "repeats": int(psamples)}
        rows.append({**row, "p": float(p), "verdict": verdict.lower()})
    return rows


def kept(streams: tuple[str, ...]) -> list[dict[str, object]]:
    """Returns the rows of the last run, without those streams."""
    path = RESULTS / "dieharder.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in before if row["stream"] not in streams]


def rows(streams: tuple[str, ...]) -> list[dict[str, object]]:
    """Runs every test on every stream, and again where a row is not passed."""
    found = []
    for stream in streams:
        for test in TESTS:
            first = run(stream, test)
            if any(row["verdict"] != "passed" for row in first):
                for row, second in zip(first, run(stream, test, AGAIN), strict=True):
                    row |= {"p again": second["p"], "verdict again": second["verdict"]} if row["verdict"] != "passed" else {}
            found += first
            print(stream, test, *(row["verdict"] for row in first), flush=True)
    return found


def main(names: list[str]) -> int:
    """Runs the named streams, or all; returns the exit status: 1 where a row failed."""
    if shutil.which("dieharder") is None:
        print("dieharder: the program is not installed. On Debian: apt-get install dieharder.", file=sys.stderr)
        return 2
    known = (*STREAMS, *CONTROLS)
    unknown = set(names) - set(known)
    if unknown:
        print(f"dieharder: streams must be among {', '.join(known)}; got {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    streams = tuple(names) or known
    found = rows(streams)
    write("dieharder", kept(streams) + found)
    return int(any(row["verdict"] == "failed" for row in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
