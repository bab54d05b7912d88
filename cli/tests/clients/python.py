"""OpenAI's and Anthropic's own clients against a running gateway, unchanged but for the address.

    python python.py http://127.0.0.1:7400 TOKEN

The gateway's route `m` leads to an upstream that is always well, `flaky` to one that fails
twice and then answers, `down` to one that never does, `busy` to one that says 429; there the
gateway does not ask again. `spent` leads to one that never answers, too, and the gateway asks
it several times. `local` answers by itself.
"""

import asyncio
import json
import sys
import time

import anthropic
import openai
import pydantic

URL, TOKEN = sys.argv[1], sys.argv[2]
WORDS = "".join(f"word{i} " for i in range(20))
ASK = [{"role": "user", "content": "go"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oaxaca"]}},
    "required": ["city"],
}

ours = openai.OpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=0)
theirs = anthropic.Anthropic(base_url=URL, api_key=TOKEN, max_retries=0)


def chat():
    answer = ours.chat.completions.create(model="m", messages=ASK)
    assert answer.choices[0].message.content == WORDS
    assert answer.usage.completion_tokens > 0
    raw = ours.chat.completions.with_raw_response.create(model="m", messages=ASK)
    assert raw.headers["x-steadfast-provider"] == "well"
    assert raw.headers["x-request-id"]


def chat_streams():
    stream = ours.chat.completions.create(
        model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(it.choices[0].delta.content or "" for it in chunks if it.choices) == WORDS
    assert chunks[-1].usage.completion_tokens > 0
    with ours.chat.completions.stream(model="m", messages=ASK) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == WORDS


def chat_tools():
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    for model in ("plan/tools=2", "local"):
        answer = ours.chat.completions.create(
            model=model, messages=ASK, tools=[tool], tool_choice="required"
        )
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = answer.choices[0].message.tool_calls
        assert len(calls) == (1 if model == "local" else 2), calls
        for call in calls:
            json.loads(call.function.arguments)
        follow_up = ASK + [
            answer.choices[0].message.model_dump(exclude_none=True),
            *({"role": "tool", "tool_call_id": it.id, "content": "sunny"} for it in calls),
        ]
        assert ours.chat.completions.create(model="local", messages=follow_up).choices
    streamed = ours.chat.completions.create(
        model="plan/tools=2", messages=ASK, tools=[tool], stream=True
    )
    indexes = {
        call.index
        for chunk in streamed
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
    }
    assert indexes == {0, 1}, indexes


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


def structured_output():
    answer = ours.chat.completions.parse(model="local", messages=ASK, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def embeddings():
    answer = ours.embeddings.create(model="local", input=["a cat", "a dog"], dimensions=64)
    assert [len(it.embedding) for it in answer.data] == [64, 64]


def models():
    assert "m" in [model.id for model in ours.models.list()]
    assert ours.models.retrieve("m").id == "m"
    assert "m" in [model.id for model in theirs.models.list()]


def fails(kind, code, call):
    try:
        call()
    except kind as error:
        assert code is None or error.code == code, error
        return error
    raise AssertionError(f"{kind} was expected")


def errors():
    create = ours.chat.completions.create
    fails(openai.NotFoundError, "model.not_found", lambda: create(model="nobody", messages=ASK))
    bad = lambda: create(model="m", messages="go")
    fails(openai.BadRequestError, "request.invalid", bad)
    fails(openai.RateLimitError, "provider.rate_limited", lambda: create(model="busy", messages=ASK))
    # What was tried again behind the gateway is not tried again before it.
    asked = []
    counting = {"request": [asked.append]}
    patient = openai.OpenAI(
        base_url=f"{URL}/v1",
        api_key=TOKEN,
        max_retries=2,
        http_client=openai.DefaultHttpxClient(event_hooks=counting),
    )
    tried = lambda: patient.chat.completions.create(model="spent", messages=ASK)
    fails(openai.InternalServerError, "provider.error", tried)
    assert len(asked) == 1, asked
    down = fails(openai.InternalServerError, "provider.error", lambda: create(model="down", messages=ASK))
    assert down.body["support_id"] == down.request_id
    stranger = openai.OpenAI(base_url=f"{URL}/v1", api_key="sk-no", max_retries=0)
    fails(openai.AuthenticationError, "token.invalid", lambda: stranger.models.list())
    cut = create(model="plan/fault=cut:3", messages=ASK, stream=True)
    fails(openai.APIError, "provider.cut", lambda: list(cut))
    say = lambda model: theirs.messages.create(model=model, max_tokens=9, messages=ASK)
    fails(anthropic.NotFoundError, None, lambda: say("nobody"))
    fails(anthropic.InternalServerError, None, lambda: say("down"))
    stranger = anthropic.Anthropic(base_url=URL, api_key="sk-no", max_retries=0)
    fails(anthropic.AuthenticationError, None, lambda: stranger.models.list())


def retries():
    patient = openai.OpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=3)
    answer = patient.chat.completions.create(model="flaky", messages=ASK)
    assert answer.choices[0].message.content == WORDS


def messages():
    answer = theirs.messages.create(model="m", max_tokens=100, messages=ASK)
    assert answer.content[0].text == WORDS and answer.usage.output_tokens > 0
    with theirs.messages.stream(model="m", max_tokens=100, messages=ASK) as stream:
        assert "".join(stream.text_stream) == WORDS
        assert stream.get_final_message().stop_reason == "end_turn"


def background():
    begun = ours.responses.create(model="local", input="go", background=True)
    assert begun.status == "queued" and begun.background, begun
    response = begun
    while response.status in ("queued", "in_progress"):
        time.sleep(0.02)
        response = ours.responses.retrieve(begun.id)
    assert (response.id, response.status) == (begun.id, "completed"), response
    assert response.output_text == "You said: go" and response.usage.output_tokens > 0
    hangs = ours.responses.create(model="plan/fault=hang", input="go", background=True)
    assert ours.responses.cancel(hangs.id).status == "cancelled"
    assert ours.responses.retrieve(hangs.id).status == "cancelled"
    fails(openai.NotFoundError, "response.not_found", lambda: ours.responses.retrieve("resp_1"))
    unstored = lambda: ours.responses.create(model="m", input="go", background=True, store=False)
    assert fails(openai.BadRequestError, None, unstored).param == "store"


def messages_tools():
    answer = theirs.messages.create(
        model="local",
        max_tokens=100,
        messages=ASK,
        tools=[{"name": "weather", "input_schema": WEATHER}],
        tool_choice={"type": "any"},
    )
    assert answer.stop_reason == "tool_use"
    assert answer.content[-1].input == {"city": "Oaxaca"}


async def at_once():
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=0)
    asked = [client.chat.completions.create(model="m", messages=ASK) for _ in range(20)]
    answers = await asyncio.gather(*asked)
    assert all(it.choices[0].message.content == WORDS for it in answers)


for check in (
    chat,
    chat_streams,
    chat_tools,
    structured_output,
    embeddings,
    models,
    errors,
    retries,
    background,
    messages,
    messages_tools,
):
    check()
    print(check.__name__, "ok", flush=True)
asyncio.run(at_once())
print("at_once ok")
