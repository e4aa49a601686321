"""What every query peer shares: the conversation with the test, and one way to write a value down.

A peer reads one JSON object per line on its standard input and answers each with one line:

    {"op": "sql", "sql": "…"}  ->  {"columns": […], "rows": [[…], …]}   or   {"error": "…"}

Values are written so that two peers that read the same table write the same text: see `plain`. A peer ends when its
input does, which is when the test process ends, however it ends. What a library prints goes to standard error.
"""

import base64
import datetime
import decimal
import json
import math
import os
import subprocess
import sys
import traceback
import uuid


def plain(value):
    """A value as JSON that does not depend on the engine it came from.

    Timestamps and dates are ISO 8601 text without a zone (in UTC where the type has one), with six digits of fraction;
    decimals are text; structs are lists in field order; maps are sorted lists of pairs.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return value.isoformat(timespec="microseconds")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict):
        return [plain(field) for field in value.values()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise TypeError(f"no plain form for {type(value).__name__}: {value!r}")


def answer(columns, rows):
    """The answer to a query."""
    return {"columns": list(columns), "rows": [[plain(value) for value in row] for row in rows]}


def leashed(command, log_path, folder=None):
    """A child process that the kernel kills when this process ends; it runs in the folder, its output goes to the log."""
    log = open(log_path, "ab", buffering=0)
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )


def java():
    """The Java program to run."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def serve(operations):
    """Says that the peer is ready, then answers requests until the input ends.

    `operations` maps an op to a function that takes the request's other fields by name.
    """
    replies = sys.stdout
    sys.stdout = sys.stderr

    def reply(message):
        replies.write(json.dumps(message, allow_nan=False) + "\n")
        replies.flush()

    reply({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        operation = request.pop("op")
        try:
            if operation not in operations:
                raise ValueError(f"no op {operation!r}; there are {', '.join(operations)}")
            reply(operations[operation](**request) or {})
        except Exception as error:  # Whatever an engine throws is an answer, not an end.
            traceback.print_exc()
            reply({"error": f"{type(error).__name__}: {error}"})
