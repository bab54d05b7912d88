#!/usr/bin/env python3
"""Recomputes every balance from `steadfast events export`, sharing nothing with Steadfast.

    steadfast events export | ci/recompute.py [--listed ACCOUNTS.json] [--effects FILE]

Checks while it reads: versions of a stream have no gaps, an event id comes once, the
postings of a movement sum to zero in each currency, each posting's own balance is the
recomputed one, no balance is below its account's floor, and holds never exceed what is
there. With --listed, the balances that the server lists must be the recomputed ones.
With --effects, a step's effects outside never begin after its result was recorded.

Prints a JSON summary. Exit code 0 when all of it holds, 1 otherwise.
"""

import argparse
import collections
import datetime
import json
import sys


class Books:
    def __init__(self):
        self.problems = []
        self.versions = {}
        self.ids = set()
        self.accounts = {}
        self.movements = collections.defaultdict(lambda: collections.Counter())
        self.accepted = {}
        self.recorded_ms = {}
        self.events = 0

    def wrong(self, where, what):
        self.problems.append(f"{where}: {what}")

    def read(self, event):
        self.events += 1
        stream, version, kind = event["stream"], event["version"], event["type"]
        where = f"{stream} version {version}"
        if version != self.versions.get(stream, 0) + 1:
            self.wrong(where, f"comes after version {self.versions.get(stream, 0)}")
        self.versions[stream] = version
        if event["id"] in self.ids:
            self.wrong(where, "its event id came before")
        self.ids.add(event["id"])
        tenant, category, name = stream.split("/", 2)
        if category == "account":
            self.account(where, (tenant, name), kind, event)
        elif category == "run":
            self.run(name, kind, event)

    def account(self, where, key, kind, event):
        body = event.get("body") or {}
        if kind == "account.opened":
            self.accounts[key] = {
                "owner": body["owner"],
                "currency": body["floor"]["currency"],
                "floor": body["floor"]["minor"],
                "balance": 0,
                "holds": {},
            }
            return
        account = self.accounts.get(key)
        if account is None:
            if kind != "account.refused":
                self.wrong(where, "the account was never opened")
            return
        if kind == "account.posted":
            amount = body["amount"]
            if amount["currency"] != account["currency"]:
                self.wrong(where, "posting in another currency")
            account["balance"] += amount["minor"]
            if body.get("hold"):
                account["holds"].pop(body["hold"], None)
            self.movements[(key[0], body["transfer"])][amount["currency"]] += amount["minor"]
            if body["balance"] != account["balance"]:
                self.wrong(where, f"says {body['balance']}, sums to {account['balance']}")
        elif kind == "account.held":
            if body["hold"] in account["holds"]:
                self.wrong(where, "the hold exists already")
            account["holds"][body["hold"]] = body["amount"]["minor"]
        elif kind == "account.hold_released":
            if account["holds"].pop(body["hold"], None) is None:
                self.wrong(where, "releases a hold that is not there")
        available = account["balance"] - sum(account["holds"].values())
        if available < account["floor"]:
            self.wrong(where, f"available {available} is below the floor {account['floor']}")

    def run(self, run, kind, event):
        if kind == "run.turn":
            at = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
            millis = at.timestamp() * 1000
            for delivery in (event.get("body") or {}).get("d", []):
                if "r" in delivery:
                    self.recorded_ms.setdefault((run, delivery["r"]["s"]), millis)

    def close(self):
        for (_, movement), sums in self.movements.items():
            for currency, total in sums.items():
                if total != 0:
                    self.wrong(f"movement {movement}", f"sums to {total} {currency}")

    def compare(self, listed):
        for account in listed:
            key = (account.get("tenant", "default"), account["id"])
            mine = self.accounts.get(key)
            balance = account["balance"]
            shown = balance["minor"] if isinstance(balance, dict) else balance
            if mine is None:
                self.wrong(account["id"], "is listed and was never opened")
            elif mine["balance"] != shown:
                self.wrong(account["id"], f"is listed with {shown}, sums to {mine['balance']}")

    def effects(self, path):
        """RUN STEP S|E MILLIS, one line each; the key of an effect is (run, step)."""
        starts = collections.Counter()
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                parts = line.split()
                if len(parts) != 4 or parts[2] not in "SE":
                    self.wrong(f"{path}:{number}", f"not an effect: {line!r}")
                    continue
                run, step, mark, millis = parts
                if mark == "S":
                    starts[(run, step)] += 1
                    recorded = self.recorded_ms.get((run, step))
                    if recorded is not None and int(millis) > recorded + 1:
                        self.wrong(f"{path}:{number}", f"{run} {step} began after its result was recorded")
        for key in self.recorded_ms:
            if starts and key[1].startswith("step#") and key not in starts:
                self.wrong(f"{key[0]} {key[1]}", "has a result and no effect")
        return sum(1 for count in starts.values() if count > 1), len(starts)


def main():
    parser = argparse.ArgumentParser(description="Recomputes every balance from an export.")
    parser.add_argument("export", nargs="?", default="-", help="JSON lines; - for stdin")
    parser.add_argument("--listed", help="JSON list of accounts, as the server lists them")
    parser.add_argument("--effects", help="what the steps of bench.steps wrote outside")
    options = parser.parse_args()
    books = Books()
    lines = sys.stdin if options.export == "-" else open(options.export, encoding="utf-8")
    with lines:
        for line in lines:
            books.read(json.loads(line))
    books.close()
    summary = {"events": books.events, "accounts": {}, "totals": collections.Counter()}
    for (tenant, name), account in sorted(books.accounts.items()):
        held = sum(account["holds"].values())
        summary["accounts"][f"{tenant}/{name}"] = {
            "owner": account["owner"],
            "currency": account["currency"],
            "balance": account["balance"],
            "held": held,
        }
        summary["totals"][account["currency"]] += account["balance"]
    for currency, total in summary["totals"].items():
        if total != 0:
            books.wrong(currency, f"all balances together are {total}, not zero")
    if options.listed:
        with open(options.listed, encoding="utf-8") as listed:
            books.compare(json.load(listed))
    if options.effects:
        summary["repeated_effects"], summary["effects"] = books.effects(options.effects)
    summary["problems"] = books.problems
    json.dump(summary, sys.stdout, indent=1)
    print()
    return 1 if books.problems else 0


if __name__ == "__main__":
    sys.exit(main())
