"""A Trino server with the catalog as `frazil`. Usage: trino_peer.py CATALOG_URI SCRATCH_FOLDER TRINO_FOLDER

Queries go through Trino's HTTP protocol: POST the statement, then follow `nextUri` until there is none.
"""

import datetime
import decimal
import json
import pathlib
import socket
import sys
import time
import urllib.error
import urllib.request

import peer

START_TIMEOUT_S = 380
QUERY_TIMEOUT_S = 120
HERE = pathlib.Path(__file__).resolve().parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_properties(path, properties):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))


def start(uri, scratch, trino):
    """Starts the server; the URL that it answers on."""
    port = free_port()
    write_properties(
        scratch / "config.properties",
        {
            "catalog.config-dir": scratch / "catalog",
            "coordinator": "true",
            "discovery.uri": f"http://127.0.0.1:{port}",
            "http-server.http.port": port,
            "memory.heap-headroom-per-node": "256MB",
            "node-scheduler.include-coordinator": "true",
            "node.environment": "tests",
            "node.internal-address": "127.0.0.1",
            "plugin.dir": trino / "plugin",
            "query.max-memory": "512MB",
            "query.max-memory-per-node": "512MB",
        },
    )
    write_properties(
        scratch / "catalog" / "frazil.properties",
        {
            "connector.name": "iceberg",
            "iceberg.catalog.type": "rest",
            "iceberg.file-format": "PARQUET",
            "iceberg.rest-catalog.uri": uri,
        },
    )
    log = scratch / "server.log"
    server = peer.leashed(
        [
            peer.java(), "-Xmx1500m", "-XX:+UseG1GC", "-Djdk.attach.allowAttachSelf=true", "-Duser.timezone=UTC",
            f"-Dconfig={scratch / 'config.properties'}", f"-Dtrino.version={(trino / 'version').read_text()}",
            "-cp", f"{trino}/lib/*", HERE / "trino" / "Launcher.java",
        ],
        log,
        # It writes a log of requests below the folder that it runs in.
        folder=scratch,
    )
    print(f"Trino's own log: {log}", file=sys.stderr)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"Trino ended with {server.returncode}, see {log}: {log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(f"{url}/v1/info", timeout=5) as info:
                if not json.load(info)["starting"]:
                    return url
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    sys.exit(f"Trino did not start within {START_TIMEOUT_S} s, see {log}")


def typed(value, signature):
    """What Trino wrote as JSON text, as the Python value of its type."""
    kind, arguments = signature["rawType"], signature.get("arguments", [])
    if value is None:
        return None
    if kind == "timestamp":
        return datetime.datetime.fromisoformat(value)
    if kind == "timestamp with time zone":
        return datetime.datetime.fromisoformat(value.replace(" UTC", "+00:00"))
    if kind == "date":
        return datetime.date.fromisoformat(value)
    if kind == "decimal":
        return decimal.Decimal(value)
    if kind == "array":
        return [typed(item, arguments[0]["value"]) for item in value]
    if kind == "row":
        return [typed(item, field["value"]["typeSignature"]) for item, field in zip(value, arguments)]
    if kind == "map":
        key_type, value_type = (argument["value"] for argument in arguments)
        return {typed(key, key_type): typed(item, value_type) for key, item in value.items()}
    return value


def query(url, sql):
    headers = {
        "X-Trino-User": "tests",
        "X-Trino-Time-Zone": "UTC",
        # Without it timestamps come rounded to milliseconds.
        "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME",
    }
    request = urllib.request.Request(f"{url}/v1/statement", data=sql.encode(), headers=headers)
    columns, rows = [], []
    deadline = time.monotonic() + QUERY_TIMEOUT_S
    while True:
        with urllib.request.urlopen(request, timeout=QUERY_TIMEOUT_S) as response:
            page = json.load(response)
        if "error" in page:
            failure = page["error"]
            cause = failure.get("failureInfo", {}).get("cause", {}).get("message")
            raise RuntimeError(f"{failure['errorName']}: {failure['message']}" + (f" ({cause})" if cause else ""))
        columns = page.get("columns", columns)
        signatures = [column["typeSignature"] for column in columns]
        rows += [[typed(value, kind) for value, kind in zip(row, signatures)] for row in page.get("data", [])]
        if "nextUri" not in page:
            return peer.answer([column["name"] for column in columns], rows)
        if time.monotonic() > deadline:
            raise TimeoutError(f"no end after {QUERY_TIMEOUT_S} s: {sql}")
        request = urllib.request.Request(page["nextUri"], headers=headers)


def main():
    uri, scratch, trino = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3]).resolve()
    url = start(uri, scratch, trino)
    peer.serve({"sql": lambda sql: query(url, sql)})


if __name__ == "__main__":
    main()
