#!/usr/bin/env python3
"""Follows a table of `frazil serve` with nothing but pyarrow: rows come as Arrow batches as soon as a commit lands.

    python3 examples/follow_table.py http://127.0.0.1:8181 default events --columns id,person.city.name

The last row of a batch says in the column `_position` where reading goes on. It is kept in a file beside whatever is done
with the rows, so that a restart goes on with the next row. Do both in one step (one transaction, one rename), and every
row is there once whatever happens.
"""

import argparse
import os
import pathlib
import urllib.parse
import urllib.request

import pyarrow as pa


def batches(server, namespace, table, start, columns):
    """Batches without the column of positions, each with the position behind it."""
    options = {"from": start, "format": "arrow"}
    if columns:
        options["columns"] = columns
    path = "/".join(urllib.parse.quote(part, safe="") for part in (namespace, table))
    url = f"{server}/api/v1/tables/{path}/changes?{urllib.parse.urlencode(options)}"
    with urllib.request.urlopen(url) as response, pa.ipc.open_stream(response) as reader:
        waiting = []
        for batch in reader:
            if batch.num_rows == 0:
                continue  # a sign of life
            waiting.append(batch.select(batch.schema.names[:-1]))
            position = batch.column("_position")[-1].as_py()
            if position is not None:
                yield pa.Table.from_batches(waiting), position
                waiting = []


def keep(path, position):
    """Puts the new position in the place of the old one, in one step."""
    beside = path.with_name(path.name + ".new")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(position)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def main():
    parser = argparse.ArgumentParser(description="Follows a table.")
    parser.add_argument("server")
    parser.add_argument("namespace")
    parser.add_argument("table")
    parser.add_argument("--columns", help="only these columns and leaves: a,b.c")
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("position"), help="the file of the position")
    parser.add_argument("--batches", type=int, help="ends after so many")
    args = parser.parse_args()
    start = f"position:{args.keep.read_text(encoding='utf-8')}" if args.keep.exists() else "earliest"
    for count, (rows, position) in enumerate(batches(args.server, args.namespace, args.table, start, args.columns), 1):
        print(f"{rows.num_rows} rows, the last {rows.slice(rows.num_rows - 1).to_pylist()[0]}", flush=True)
        keep(args.keep, position)
        if count == args.batches:
            break


if __name__ == "__main__":
    main()
