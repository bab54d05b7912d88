#!/bin/sh
# A walk through the bank with the command line, against a server of `make run`.
#
#   PATH=$PWD/target/release:$PATH sh examples/walk.sh
set -eu

KEY="walk-$$-$(date +%s)"

echo "== what ana has"
steadfast bank accounts --as ana

echo "== ana pays luis, and sends the same request again: the same answer, once"
first=$(steadfast bank transfer luis 12.50 --as ana --key "$KEY" --json)
again=$(steadfast bank transfer luis 12.50 --as ana --key "$KEY" --json 2>/dev/null)
[ "$first" = "$again" ]
echo "$first"

echo "== the same key for another amount is refused"
if steadfast bank transfer luis 99.00 --as ana --key "$KEY"; then exit 1; fi

echo "== marta buys: a durable run"
steadfast bank buy chocolate-mesa --as marta --key "$KEY"

echo "== why did it do what it did?"
run=$(steadfast bank buy chocolate-mesa --as marta --key "$KEY" --json 2>/dev/null |
  sed -n 's/.*"id": "\([^"]*\)".*/\1/p' | head -n 1)
steadfast explain "$run" --as marta

echo "== the same by words: shown, confirmed, done"
printf '%s\n' 'mándale 12.50 pesos a Luis' 'sí' | steadfast chat --user ana

echo "== does it all hold together?"
steadfast verify
