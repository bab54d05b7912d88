"""TensorZero's own HTTP gateway, as its Python package starts it: prints where, and stays."""

import signal
import sys

import tensorzero

# It is what `patch_openai_client` calls, which wants a client to patch besides.
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(gateway.base_url, flush=True)
signal.sigwait({signal.SIGINT, signal.SIGTERM})
