#!/usr/bin/env python3
"""Prints the skips of a run with their reasons. Exit code 1 if one of them is not on the committed list.

    skips.py SKIPS.jsonl ALLOWED.toml

SKIPS.jsonl has one object per line: component, test, reason.
"""

import json
import pathlib
import sys
import tomllib


def main():
    skips_path, allowed_path = map(pathlib.Path, sys.argv[1:])
    allowed = tomllib.loads(allowed_path.read_text())
    for component, entry in allowed.items():
        if not entry.get("reason"):
            sys.exit(f"{allowed_path}: [{component}] has no reason")
    skips = [json.loads(line) for line in skips_path.read_text().splitlines()]
    refused = False
    for skip in skips:
        known = allowed.get(skip["component"])
        refused = refused or known is None
        note = "" if known is None else f" (allowed: {known['reason']})"
        print(f"{skip['test']}: without {skip['component']}: {skip['reason']}{note}")
    if not skips:
        print("none")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
