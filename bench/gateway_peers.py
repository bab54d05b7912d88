#!/usr/bin/env python3
"""Sends the same calls of a model through Steadfast's gateway and its peers, and prints one table.

Only the standard library. What is measured and why it is fair is in README.md beside this file.
"""

import argparse
import json
import os
import pathlib
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

from peers import HERE, READY_WITHIN, ROOT, Absent, call, debian, free_port, load, npm, place, print_table, venv

# Load and upstream have one processor, the gateway has another.
PROCESSORS = sorted(os.sched_getaffinity(0))
LOADS, GATEWAYS = (["taskset", "--cpu-list", str(processor)] for processor in (PROCESSORS[0], PROCESSORS[-1]))
CALLERS = 64
CALLERS_WHILE_DEAD = 4
# A rate that is no load to any of them but the slowest.
EVENLY, CALLERS_EVENLY = 500, 16
SAID = "The quick brown fox jumps over the lazy dog. " * 5
ANSWER = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "instant",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 50, "total_tokens": 70},
}
DOWN = {"error": {"message": "Nobody is here.", "type": "server_error", "code": None}}


def body(model):
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What does the quick brown fox jump over?"},
    ]
    return {"model": model, "stream": False, "max_tokens": 100, "messages": messages}


# What nginx is told in both its parts here: as the upstream, and as a peer.


def nginx_program():
    # Where Debian has it is not in everybody's PATH.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
    if shutil.which("nginx", path=path) is None:
        debian("nginx-light")
    found = shutil.which("nginx", path=path)
    if found is None:
        raise Absent("nginx is not installed; on Debian: apt-get install nginx-light")
    return found


def nginx(here, name, pinned, servers, port):
    own = here.folder / name
    own.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {own}/{kind};\n" for kind in kinds)
    (own / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {own}/pid;\nerror_log stderr error;\n"
        f"events {{ worker_connections 4096; }}\n"
        f"http {{\naccess_log off;\nkeepalive_requests 1000000000;\ndefault_type application/json;\n{paths}{servers}}}\n"
    )
    here.start(name, [*pinned, nginx_program(), "-e", "stderr", "-p", own, "-c", own / "nginx.conf"])
    here.ready(name, port)


class Upstream:
    """One provider that answers at once, whatever it is asked, and one that always answers 503."""

    def __init__(self, here):
        healthy, dead = free_port(), free_port()
        servers = (
            f"server {{ listen 127.0.0.1:{healthy}; location / {{ return 200 '{json.dumps(ANSWER)}'; }}\n"
            f"location = /status {{ stub_status; }} }}\n"
            f"server {{ listen 127.0.0.1:{dead}; location / {{ return 503 '{json.dumps(DOWN)}'; }} }}\n"
        )
        nginx(here, "upstream", LOADS, servers, healthy)
        self.healthy, self.dead = f"127.0.0.1:{healthy}", f"127.0.0.1:{dead}"

    def calls(self):
        """How many requests both have had, without those of this count."""
        with urllib.request.urlopen(f"http://{self.healthy}/status", timeout=10) as answer:
            return int(answer.read().split(b"\n")[2].split()[2])


# Who is measured: each starts itself, and answers where it is asked for an answer of the healthy
# provider (`instant`), and of that one after the dead one (`failover`).


def targets(port, headers=()):
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    return {model: {"url": url, "body": body(model), "headers": headers} for model in ("instant", "failover")}


def floor(_here, upstream, _args):
    return {"instant": {"url": f"http://{upstream.healthy}/v1/chat/completions", "body": body("instant")}}


def nginx_proxy(here, upstream, _args):
    instant, failover = free_port(), free_port()
    kept = "proxy_http_version 1.1; proxy_set_header Connection '';"
    servers = (
        f"upstream instant {{ server {upstream.healthy}; keepalive {CALLERS}; keepalive_requests 1000000000; }}\n"
        f"upstream failover {{ server {upstream.dead}; server {upstream.healthy} backup; keepalive {CALLERS}; }}\n"
        f"server {{ listen 127.0.0.1:{instant}; location / {{ {kept} proxy_pass http://instant; }} }}\n"
        f"server {{ listen 127.0.0.1:{failover}; location / {{ {kept} proxy_pass http://failover;\n"
        f"proxy_next_upstream error timeout http_503 non_idempotent; }} }}\n"
    )
    nginx(here, "nginx", GATEWAYS, servers, instant)
    return {"instant": targets(instant)["instant"], "failover": targets(failover)["failover"]}


def litellm(here, upstream, ways):
    program, port, key = venv("gateway/python") / "litellm", free_port(), f"sk-{secrets.token_hex(24)}"

    def deployment(name, address, **more):
        base = {"model": "openai/instant", "api_base": f"http://{address}/v1", "api_key": "none"}
        return {"model_name": name, "litellm_params": base | more}

    config = {"model_list": [deployment("instant", upstream.healthy)]}
    if ways == "fallbacks":
        config["model_list"].append(deployment("failover", upstream.dead))
        config["router_settings"] = {"fallbacks": [{"failover": ["instant"]}]}
    else:
        config["model_list"] += [
            deployment("failover", upstream.dead, order=1),
            deployment("failover", upstream.healthy, order=2),
        ]
    # JSON is YAML.
    (here.folder / "litellm.yaml").write_text(json.dumps(config))
    env = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOG": "ERROR",
        # Nothing is fetched from elsewhere.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_BLOG_POSTS": "True",
    }
    command = [program, "--config", here.folder / "litellm.yaml", "--host", "127.0.0.1", "--port", port]
    here.start("litellm", [*GATEWAYS, *command], env)
    here.ready("litellm", port)
    return targets(port, [f"Authorization: Bearer {key}"])


def portkey(here, upstream, _args):
    port = free_port()
    program = npm("gateway/node") / "node_modules/@portkey-ai/gateway/build/start-server.js"
    here.start("portkey", [*GATEWAYS, "node", program, f"--port={port}", "--headless"])
    here.ready("portkey", port)

    def provider(address):
        return {"provider": "openai", "custom_host": f"http://{address}/v1", "api_key": "none"}

    both = [provider(upstream.dead), provider(upstream.healthy)]
    fallback = {"strategy": {"mode": "fallback"}, "targets": both}
    found = targets(port)
    for model, config in (("instant", provider(upstream.healthy)), ("failover", fallback)):
        found[model]["headers"] = [f"x-portkey-config: {json.dumps(config)}"]
    return found


def tensorzero(here, upstream, _args):
    program, config = HERE / "gateway/python/tensorzero_app.py", here.folder / "tensorzero.toml"

    def provider(name, address):
        base = f"type = 'openai', model_name = 'instant', api_base = 'http://{address}/v1', api_key_location = 'none'"
        return f"providers.{name} = {{ {base} }}\n"

    healthy, dead = provider("healthy", upstream.healthy), provider("dead", upstream.dead)
    config.write_text(
        "[gateway]\nobservability.enabled = false\ndisable_pseudonymous_usage_analytics = true\n"
        f"[models.instant]\nrouting = ['healthy']\n{healthy}"
        f"[models.failover]\nrouting = ['dead', 'healthy']\n{dead}{healthy}"
    )
    python = venv("gateway/python") / "python"
    process = here.start("tensorzero", [*GATEWAYS, python, program, config], {"RUST_LOG": "error"})
    # It chooses the port itself, and says so when it listens.
    deadline = time.monotonic() + READY_WITHIN
    while not (base := here.tail("tensorzero").split(" / ")[-1]).startswith("http://"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Absent(f"tensorzero does not listen: {here.tail('tensorzero')}")
        time.sleep(0.05)
    url = f"{base.rstrip('/')}/chat/completions"
    return {model: {"url": url, "body": body(f"tensorzero::model_name::{model}")} for model in ("instant", "failover")}


def steadfast(here, upstream, args):
    port, store = free_port(), f"sqlite:{here.folder}/steadfast.db"
    (here.folder / "steadfast.toml").write_text(f"""
        [models.cache]
        enabled = false # The load asks the same again and again.
        [models.providers]
        healthy.url = 'http://{upstream.healthy}/v1'
        dead.url = 'http://{upstream.dead}/v1'
        [models.routes.instant]
        targets = [{{ provider = 'healthy' }}]
        [models.routes.failover]
        targets = [{{ provider = 'dead' }}, {{ provider = 'healthy' }}]
        [models.prices]
        instant = {{ input = '1', output = '2', thinks = 'never' }}
        failover = {{ input = '1', output = '2', thinks = 'never' }}
        [models.budget.limits.user]
        limit = '1000000'
        per = 'user'
    """)
    command = [args.binary, "serve", "--config", here.folder / "steadfast.toml", "--store", store]
    here.start("steadfast", [*GATEWAYS, *command, "--listen", f"127.0.0.1:{port}"])
    here.ready("steadfast", port)
    env = {**os.environ, "STEADFAST_STORE__URL": store}
    token = call([args.binary, "token", "--user", "bench"], env=env).strip()
    return targets(port, [f"Authorization: Bearer {token}"])


OURS = "Steadfast"
FLOOR = "floor: the upstream itself"
PEERS = {
    "nginx": nginx_proxy,
    "LiteLLM, fallbacks": lambda here, upstream, _args: litellm(here, upstream, "fallbacks"),
    "LiteLLM, in order": lambda here, upstream, _args: litellm(here, upstream, "order"),
    "Portkey": portkey,
    "TensorZero": tensorzero,
}


# What a gateway takes: all its processes, from what the system says of them.


def tree(root):
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # What follows the name, which may have any letters, is: state, parent, …
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # It has ended.
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def processor_seconds(processes):
    """In user and kernel, with the children that have ended."""
    ticks = 0
    for process in processes:
        stat = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, stat[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mib(processes):
    """The sum of what each held at most. What they share counts for each."""
    status = "\n".join(pathlib.Path(f"/proc/{process}/status").read_text() for process in processes)
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def measure(name, start, args):
    """One gateway: started, warmed, loaded, then with a dead provider first, stopped."""
    print(f"{name} …", file=sys.stderr, flush=True)

    def send(target, callers, seconds, rate=None):
        # Its own count of what comes before is one request.
        before = upstream.calls() + 1
        report = load(args.binary, target, callers, seconds, expect=SAID.strip(), pinned=LOADS, rate=rate)
        report["upstream"] = (upstream.calls() - before) / report["answered"]
        return report

    with place(args.folder) as here:
        upstream = Upstream(here)
        already = len(here.processes)
        target = start(here, upstream, args)
        gateway = [process.pid for _, process in here.processes[already:]]
        send(target["instant"], CALLERS, args.warm_up)
        processes = [process for root in gateway for process in tree(root)]
        before = processor_seconds(processes)
        many = send(target["instant"], CALLERS, args.seconds)
        figures = {"rate": many["rate"], "p99_ms": many["p99_ms"]}
        if many["upstream"] < 0.999:
            raise Absent(f"it answered without asking: {many['upstream']:.3f} calls upstream for one")
        if gateway:
            figures["cpu_us"] = (processor_seconds(processes) - before) * 1e6 / many["answered"]
            figures["peak_mib"] = peak_mib(processes)
        evenly = send(target["instant"], CALLERS_EVENLY, args.seconds, EVENLY)
        figures |= {"evenly_p50_ms": evenly["p50_ms"], "evenly_p95_ms": evenly["p95_ms"]}
        if "failover" in target:
            failing = send(target["failover"], CALLERS_WHILE_DEAD, args.seconds_dead)
            figures |= {"dead_upstream": failing["upstream"], "dead_p50_ms": failing["p50_ms"]}
    return figures


def versions(binary):
    lock = json.loads((HERE / "gateway/node/package-lock.json").read_text())["packages"]
    pinned = (HERE / "gateway/python/requirements.txt").read_text().split()
    # It tells its version where errors go.
    said = subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr
    packages = dict(line.split("==") for line in pinned)
    return {
        "litellm": packages["litellm"],
        "nginx": said.split("/")[-1].split()[0],
        "portkey": lock["node_modules/@portkey-ai/gateway"]["version"],
        "steadfast": call([binary, "--version"]).split()[-1],
        "tensorzero": packages["tensorzero"],
    }


COLUMNS = {
    "rate": ("requests/s", ".0f"),
    "p99_ms": ("p99 ms", ".1f"),
    "cpu_us": ("CPU µs each", ".0f"),
    "peak_mib": ("peak MiB", ".0f"),
    "evenly_p50_ms": (f"at {EVENLY}/s: p50 ms", ".2f"),
    "evenly_p95_ms": ("p95 ms", ".2f"),
    "dead_upstream": ("first always 503: calls upstream for one", ".2f"),
    "dead_p50_ms": ("then p50 ms", ".1f"),
}


def rows(samples, absent):
    for name, taken in samples.items():
        if name in absent:
            yield [name, f"ABSENT: {absent[name]}", *("" for _ in list(COLUMNS)[1:])]
            continue
        median = {key: statistics.median(sample[key] for sample in taken) for key in taken[0]}
        yield [name, *(format(median[key], how) if key in median else "–" for key, (_, how) in COLUMNS.items())]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/steadfast"))
    parser.add_argument("--rounds", type=int, default=1, help="figures are medians over them")
    parser.add_argument("--seconds", type=int, default=5, help=f"of load with {CALLERS} callers")
    parser.add_argument("--seconds-dead", type=int, default=3, help="of load while the first provider is dead")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--only", help="peers whose name contains this")
    parser.add_argument("--folder", default="/var/tmp", help="on whose file system everything is written")
    parser.add_argument("--json", action="store_true", help="all samples, for programs")
    args = parser.parse_args()
    args.binary = str(pathlib.Path(args.binary).resolve())
    if len(PROCESSORS) < 2:
        sys.exit("this needs two processors: one for the load and one for who is measured")
    # Servers are stopped also when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    peers = {name: start for name, start in PEERS.items() if args.only is None or args.only in name}
    if not peers:
        sys.exit(f"no peer is named so: {'; '.join(PEERS)}")
    everybody = {FLOOR: floor, **peers, OURS: steadfast}
    samples, absent = {name: [] for name in everybody}, {}
    for _ in range(args.rounds):
        for name, start in everybody.items():
            try:
                samples[name].append(measure(name, start, args))
            except (Absent, OSError) as error:
                if name not in peers:
                    raise
                absent[name] = str(error)[:300]
        samples[FLOOR].append(measure(FLOOR, floor, args))

    floors = [sample["rate"] for sample in samples[FLOOR]]
    spread = max(floors) / min(floors)
    named = versions(args.binary)
    if args.json:
        report = {"rounds": args.rounds, "seconds": args.seconds, "versions": named, "floor_spread": spread,
                  "samples": samples, "absent": absent}
        print(json.dumps(report, indent=2))
    else:
        print_table([[f"{CALLERS} callers, one core", *(head for head, _ in COLUMNS.values())], *rows(samples, absent)])
        print("versions: " + ", ".join(f"{name} {version}" for name, version in named.items()))
        print(f"the floor was measured {len(floors)} times, first and last; its fastest is {spread:.2f} of its slowest")
    if absent:
        sys.exit(f"not measured: {', '.join(absent)}")


if __name__ == "__main__":
    try:
        main()
    except (Absent, OSError) as reason:
        sys.exit(f"error: {reason}")
