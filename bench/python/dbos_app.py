"""A run of five durable steps that do nothing, on DBOS."""

import json
import os

from aiohttp import web
from dbos import DBOS

DBOS(
    config={
        "name": "bench",
        "system_database_url": os.environ["DATABASE_URL"],
        "sys_db_pool_size": int(os.environ["POOL"]),
        "log_level": "ERROR",
    }
)


@DBOS.step()
async def step(number: int) -> None:
    pass


@DBOS.workflow()
async def run() -> dict[str, str]:
    for number in range(1, 6):
        await step(number)
    return {"status": "completed"}


async def answer(_: web.Request) -> web.Response:
    return web.Response(text=json.dumps(await run(), separators=(",", ":")))


DBOS.launch()
app = web.Application()
app.router.add_post("/run", answer)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)
