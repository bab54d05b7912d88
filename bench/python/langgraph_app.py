"""A graph of five nodes that do nothing, on LangGraph, each checkpointed before the next."""

import json
import os
import uuid
from contextlib import asynccontextmanager
from typing import TypedDict

import aiosqlite
from aiohttp import web
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool


class State(TypedDict):
    done: int


async def step(state: State) -> State:
    return {"done": state["done"] + 1}


def graph() -> StateGraph:
    built = StateGraph(State)
    names = [f"step {number}" for number in range(1, 6)]
    for name in names:
        built.add_node(name, step)
    for before, after in zip([START, *names], [*names, END]):
        built.add_edge(before, after)
    return built


@asynccontextmanager
async def saver():
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite:"):
        async with aiosqlite.connect(url.removeprefix("sqlite:")) as connection:
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=FULL")
            yield AsyncSqliteSaver(connection)
        return
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    size = int(os.environ["POOL"])
    async with AsyncConnectionPool(url, min_size=size, max_size=size, kwargs=kwargs) as pool:
        yield AsyncPostgresSaver(pool)


async def serving(app: web.Application):
    async with saver() as checkpointer:
        await checkpointer.setup()
        app["graph"] = graph().compile(checkpointer=checkpointer)
        yield


async def answer(request: web.Request) -> web.Response:
    thread = {"configurable": {"thread_id": str(uuid.uuid4())}}
    state = await request.app["graph"].ainvoke({"done": 0}, thread, durability="sync")
    status = "completed" if state["done"] == 5 else "wrong"
    return web.Response(text=json.dumps({"status": status}, separators=(",", ":")))


app = web.Application()
app.cleanup_ctx.append(serving)
app.router.add_post("/run", answer)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)
