#!/usr/bin/env python3
"""Runs the same workload against Steadfast and its peers, one after another, and prints one table.

Only the standard library. What is measured and why it is fair is in README.md beside this file.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
INSTALLED = ROOT / "target" / "peers"
READY_WITHIN = 60.0
# Connections to PostgreSQL, for those who use it.
POOL = "64"
QUIET = {
    "SCARF_ANALYTICS": "false",
    "LANGSMITH_TRACING": "false",
    "NODE_ENV": "production",
    "RESTATE_DISABLE_TELEMETRY": "true",
}


class Absent(Exception):
    """A peer cannot be installed, started or measured."""


def call(command, **options):
    """Runs a command to its end; its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Absent(f"{pathlib.Path(str(command[0])).name}: {' / '.join(said[-3:])}")
    return done.stdout


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def post(url, body, timeout=10):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read()


class Place:
    """The processes and the folder of one measurement; both are gone afterwards."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def start(self, name, command, env=None, user=None):
        log = open(self.folder / f"{name}.log", "w", encoding="utf-8")
        owner = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=self.folder,
            env={**os.environ, **QUIET, **{key: str(value) for key, value in (env or {}).items()}},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **owner,
        )
        log.close()
        self.processes.append((name, process))
        return process

    def ready(self, what, port):
        """Waits until somebody listens."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            for name, process in self.processes:
                if process.poll() is not None:
                    raise Absent(f"{name} ended with {process.returncode}: {self.tail(name)}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.05)
        raise Absent(f"{what} does not listen: {self.tail(what)}")

    def tail(self, name):
        lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])[-400:]

    def stop(self):
        """What was started last ends first. SIGINT asks PostgreSQL to end at once, in order."""
        for _, process in reversed(self.processes):
            for how, patience in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
                    break


@contextlib.contextmanager
def place(folder):
    with tempfile.TemporaryDirectory(prefix="steadfast-peers-", dir=folder) as made:
        os.chmod(made, 0o755)
        here = Place(pathlib.Path(made))
        try:
            yield here
        finally:
            here.stop()


# What is installed, once, at the versions that the lock files name.


def stamped(where, sources, install):
    """Installs unless that was done with exactly these sources."""
    content = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = where / "installed"
    if stamp.exists() and stamp.read_text() == content:
        return
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    install()
    stamp.write_text(content)


def npm(name):
    """What `NAME/package-lock.json` says, where it is installed."""
    where = INSTALLED / name
    sources = [HERE / name / "package.json", HERE / name / "package-lock.json"]

    def install():
        for source in sources:
            shutil.copy(source, where)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
        call(["npm", "ci", *quiet], cwd=where, env={**os.environ, **QUIET})

    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Absent("Node.js with npm is not installed")
    stamped(where, sources, install)
    return where


def venv(name):
    """What `NAME/requirements.txt` says; the folder of its programs."""
    where = INSTALLED / name
    requirements = HERE / name / "requirements.txt"

    def install():
        call([sys.executable, "-m", "venv", where / "venv"])
        call([where / "venv/bin/pip", "install", "--quiet", "--no-deps", "--requirement", requirements])

    stamped(where, [requirements], install)
    return where / "venv" / "bin"


def node():
    where = npm("node")
    for program in (HERE / "node").glob("*.mjs"):
        shutil.copy(program, where)
    return where


def rust():
    if shutil.which("cargo") is None:
        raise Absent("cargo is not installed")
    manifest, where = HERE / "rust" / "Cargo.toml", INSTALLED / "rust"
    call(["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", where])
    return where / "release" / "restate-steps"


def python():
    return venv("python") / "python"


def debian(package):
    """Installs it where that can be done without asking."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        call(["apt-get", "update", "-qq"])
        call(["apt-get", "install", "-y", "-qq", package], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def postgres_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        debian("postgresql")
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise Absent("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return found[-1].parent


def postgres(here):
    """A private PostgreSQL with its own defaults: fsync and synchronous_commit are on."""
    programs, port = postgres_programs(), free_port()
    # It refuses to run as root.
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    data = here.folder / "postgres"
    data.mkdir(mode=0o700)
    owner = {}
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    call(
        [programs / "initdb", "--pgdata", data, "--auth=trust", "--username=bench", "--encoding=UTF8", "--no-locale"],
        cwd=data,
        **owner,
    )
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "200",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    here.start("postgres", [programs / "postgres", "-D", data, "-p", port, *options], user=user)
    here.ready("postgres", port)
    url = f"postgresql://bench@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + READY_WITHIN
    # It listens before it takes work.
    while subprocess.run([programs / "pg_isready", "-q", "-d", url], check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise Absent("postgres does not become ready")
        time.sleep(0.05)
    return url


# Who is measured: each starts itself and answers where it is posted to, with what.


def steadfast(here, binary):
    store, port = f"sqlite:{here.folder}/steadfast.db", free_port()
    here.start("steadfast", [binary, "serve", "--bench", "--store", store, "--listen", f"127.0.0.1:{port}"])
    here.ready("steadfast", port)
    env = {**os.environ, "STEADFAST_STORE__URL": store}
    token = call([binary, "token", "--user", "bench"], env=env).strip()
    body = {"workflow": "bench.steps", "input": {"steps": 5, "millis": 0}}
    headers = [f"Authorization: Bearer {token}", "Prefer: wait=30"]
    return {"url": f"http://127.0.0.1:{port}/api/v1/runs", "body": body, "headers": headers, "keyed": True}


def restate(here, handler, partitions):
    where = node()
    app, ingress, admin, fabric = (free_port() for _ in range(4))
    command = ["node", where / "restate.mjs"] if handler == "node" else [rust()]
    here.start("handler", command, {"PORT": app, "RESTATE_LOGGING": "ERROR"})
    here.ready("handler", app)
    env = {
        "RESTATE_BASE_DIR": here.folder / "restate",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_BIND_PORT": fabric,
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_INGRESS__BIND_PORT": ingress,
        "RESTATE_ADMIN__BIND_PORT": admin,
        "RESTATE_LOG_FILTER": "warn",
        "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
    }
    if partitions is not None:
        env["RESTATE_DEFAULT_NUM_PARTITIONS"] = partitions
    here.start("restate", [where / "node_modules/.bin/restate-server", "--no-logo"], env)
    here.ready("restate", admin)
    here.ready("restate", ingress)
    url = f"http://127.0.0.1:{ingress}/Steps/run"
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            post(f"http://127.0.0.1:{admin}/deployments", {"uri": f"http://127.0.0.1:{app}"})
            post(url, {})
            return {"url": url, "body": {}}
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise Absent(f"restate takes no work: {error}; {here.tail('restate')}") from error
            time.sleep(0.2)


def app(here, command, env):
    port = free_port()
    here.start("app", command, {"PORT": port, "POOL": POOL, **env})
    here.ready("app", port)
    return {"url": f"http://127.0.0.1:{port}/run", "body": {}}


def dbos_typescript(here):
    return app(here, ["node", node() / "dbos.mjs"], {"DATABASE_URL": postgres(here)})


def dbos_python(here):
    return app(here, [python(), HERE / "python/dbos_app.py"], {"DATABASE_URL": postgres(here)})


def langgraph_sqlite(here):
    url = f"sqlite:{here.folder}/langgraph.db"
    return app(here, [python(), HERE / "python/langgraph_app.py"], {"DATABASE_URL": url})


def langgraph_postgres(here):
    return app(here, [python(), HERE / "python/langgraph_app.py"], {"DATABASE_URL": postgres(here)})


OURS = "Steadfast"
PEERS = {
    "Restate, Node.js, default": lambda here: restate(here, "node", None),
    "Restate, Node.js, one partition": lambda here: restate(here, "node", 1),
    "Restate, Rust, default": lambda here: restate(here, "rust", None),
    "Restate, Rust, one partition": lambda here: restate(here, "rust", 1),
    "DBOS TypeScript, PostgreSQL": dbos_typescript,
    "DBOS Python, PostgreSQL": dbos_python,
    "LangGraph, SQLite": langgraph_sqlite,
    "LangGraph, PostgreSQL": langgraph_postgres,
}


def load(binary, target, callers, seconds, expect='"status":"completed"', pinned=(), rate=None):
    command = [*pinned, binary, "bench", "load", target["url"], "--json", "--body", json.dumps(target["body"])]
    command += ["--expect", expect, "--callers", str(callers), "--seconds", str(seconds)]
    command += [word for header in target.get("headers", []) for word in ("--header", header)]
    command += ["--keyed"] if target.get("keyed") else []
    command += ["--rate", str(rate)] if rate else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise Absent(f"the load failed: {done.stderr.strip()[-300:]}") from None
    if report["failed"]:
        raise Absent(f"{report['failed']} callers failed: {report.get('first_failure', '')}")
    if not report["answered"]:
        raise Absent("no request was answered")
    return report


def measure(name, start, args):
    """One server: started, warmed, 64 callers, one caller, stopped."""
    print(f"{name} …", file=sys.stderr, flush=True)
    with place(args.folder) as here:
        target = start(here)
        load(args.binary, target, 64, args.warm_up)
        many = load(args.binary, target, 64, args.seconds)
        one = load(args.binary, target, 1, max(1, args.seconds // 2))
    return {"rate": many["rate"], "many_p50_ms": many["p50_ms"], "many_p99_ms": many["p99_ms"],
            "p50_ms": one["p50_ms"], "p99_ms": one["p99_ms"]}


def floor(args):
    """What one synced commit costs on this file system."""
    command = [args.binary, "bench", "log", "--json", "--rounds", "1", "--scale", "10", "--folder", args.folder]
    report = json.loads(call(command))
    return report["floor"]


def versions(binary):
    lock = json.loads((HERE / "node/package-lock.json").read_text())["packages"]
    named = {name: lock[f"node_modules/{name}"]["version"]
             for name in ("@restatedev/restate-server", "@restatedev/restate-sdk", "@dbos-inc/dbos-sdk")}
    pinned = dict(line.split("==") for line in (HERE / "python/requirements.txt").read_text().split() if "==" in line)
    named |= {name: pinned[name] for name in pinned if name == "dbos" or name.startswith("langgraph")}
    crates = tomllib.loads((HERE / "rust/Cargo.lock").read_text())["package"]
    named |= {"restate-sdk (Rust)": package["version"] for package in crates if package["name"] == "restate-sdk"}
    named["steadfast"] = call([binary, "--version"]).split()[-1]
    return named


def median(samples):
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def rows(names, samples, absent):
    ours = median(samples[OURS])
    for name in (OURS, *names):
        if name in absent:
            yield [name, f"ABSENT: {absent[name]}", "", "", "", "", ""]
            continue
        figures = median(samples[name])
        ratio = "" if name == OURS else f"{ours['rate'] / figures['rate']:.1f} ×"
        faster = "" if name == OURS else f"{figures['p50_ms'] / ours['p50_ms']:.1f} ×"
        yield [name, f"{figures['rate']:.0f}", f"{figures['many_p99_ms']:.1f}", ratio,
               f"{figures['p50_ms']:.2f}", f"{figures['p99_ms']:.2f}", faster]


def print_table(table):
    # What is absent says why, across the columns.
    whole = [row for row in table if not row[1].startswith("ABSENT")]
    widths = [max(len(row[column]) for row in whole) for column in range(len(table[0]))]
    widths[0] = max(len(row[0]) for row in table)
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/steadfast"))
    parser.add_argument("--rounds", type=int, default=1, help="figures are medians over them")
    parser.add_argument("--seconds", type=int, default=8, help="of load with 64 callers; half of it with one")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--only", help="peers whose name contains this")
    parser.add_argument("--folder", default="/var/tmp", help="on whose file system everything is written")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench-peers.json")
    args = parser.parse_args()
    args.binary = str(pathlib.Path(args.binary).resolve())
    kind = call(["stat", "--file-system", "--format=%T", args.folder]).strip()
    if kind in ("tmpfs", "ramfs"):
        sys.exit(f"{args.folder} is in memory: nothing there is durable; give another --folder")
    # Servers are stopped also when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    peers = {name: start for name, start in PEERS.items() if args.only is None or args.only in name}
    if not peers:
        sys.exit(f"no peer is named so: {', '.join(PEERS)}")
    samples, absent = {OURS: []}, {}
    syncs = floor(args)
    for _ in range(args.rounds):
        def ours():
            samples[OURS].append(measure(OURS, lambda here: steadfast(here, args.binary), args))
        ours()
        for name, start in peers.items():
            try:
                samples.setdefault(name, []).append(measure(name, start, args))
            except (Absent, OSError) as error:
                absent[name] = str(error)[:300]
        ours()

    heads = ["5 steps, durable", "runs/s, 64 at once", "p99 ms", "ours is", "one at a time, p50 ms", "p99 ms", "ours is"]
    print_table([heads, *rows(peers, samples, absent)])
    print(f"floor: one synced row {syncs['one_row_p50_ms']:.3f} ms, {syncs['one_row_a_second']:.0f} rows/s, "
          f"{syncs['group_of_64_rows_a_second']:.0f} rows/s in groups of 64; {kind} at {args.folder}")
    named = versions(args.binary)
    print("versions: " + ", ".join(f"{name} {version}" for name, version in sorted(named.items())))
    spread = max(s["rate"] for s in samples[OURS]) / min(s["rate"] for s in samples[OURS])
    print(f"Steadfast was measured {len(samples[OURS])} times, first and last; its fastest is {spread:.2f} of its slowest")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    samples = {name: taken for name, taken in samples.items() if taken}
    report = {"rounds": args.rounds, "seconds": args.seconds, "floor": syncs, "versions": named,
              "samples": samples, "absent": absent}
    args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"all samples: {args.out}")
    if absent:
        sys.exit(f"not measured: {', '.join(absent)}")


if __name__ == "__main__":
    try:
        main()
    except Absent as reason:
        sys.exit(f"error: {reason}")
