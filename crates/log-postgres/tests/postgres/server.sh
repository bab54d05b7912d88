# A private server in a folder of its own. It lives as long as standard input is open, so
# it ends with the process that started it, however that ends. Arguments: the folder of
# PostgreSQL's programs, then settings of the server.
set -eu
bin=$1
shift
trap '' INT TERM HUP

dir=$(mktemp -d "${TMPDIR:-/tmp}/steadfast-postgres.XXXXXX")
run() { "$@" </dev/null >>"$dir/log" 2>&1; }
start() { run "$bin/pg_ctl" start -w -D "$dir/data" -l "$dir/log" -o "-k '$dir' -h '' $settings"; }
crash() { run "$bin/pg_ctl" stop -w -m immediate -D "$dir/data"; }

settings=
for setting; do settings="$settings -c $setting"; done

# A collation that is not that of bytes, as on most servers.
run "$bin/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 \
  --locale=C --locale-provider=icu --icu-locale=en --pgdata="$dir/data" && start || :
echo "$dir"
while read -r command; do
  if "$command"; then echo "done"; else echo "failed"; fi
done
crash || :
rm -rf "$dir"
