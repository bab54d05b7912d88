// OpenAI's own JavaScript client against a running gateway, unchanged but for the address.
//
//     node javascript.mjs http://127.0.0.1:7400 TOKEN
//
// See python.py for what the models lead to.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [url, token] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
const words = Array.from({ length: 20 }, (_, i) => `word${i} `).join("");
const messages = [{ role: "user", content: "go" }];
const parameters = { type: "object", properties: { city: { enum: ["Oaxaca"] } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];

const checks = {
  async chat() {
    const answer = await client.chat.completions.create({ model: "m", messages });
    assert.equal(answer.choices[0].message.content, words);
  },
  async streams() {
    let said = "";
    for await (const chunk of await client.chat.completions.create({ model: "m", messages, stream: true })) {
      said += chunk.choices[0]?.delta?.content ?? "";
    }
    assert.equal(said, words);
  },
  async leaving() {
    const stream = await client.chat.completions.create({ model: "m", messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break;
    }
  },
  async tools() {
    const answer = await client.chat.completions.create({ model: "local", messages, tools, tool_choice: "required" });
    const call = answer.choices[0].message.tool_calls[0].function;
    assert.deepEqual([call.name, JSON.parse(call.arguments)], ["weather", { city: "Oaxaca" }]);
  },
  async structured() {
    const response_format = { type: "json_schema", json_schema: { name: "place", schema: parameters } };
    const answer = await client.chat.completions.create({ model: "local", messages, response_format });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { city: "Oaxaca" });
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: "local", input: "a cat", dimensions: 64 });
    assert.equal(answer.data[0].embedding.length, 64);
  },
  async errors() {
    const failing = (model, body) => client.chat.completions.create({ model, messages, ...body });
    await assert.rejects(failing("nobody"), (it) => it instanceof OpenAI.NotFoundError && it.code === "model.not_found");
    await assert.rejects(failing("m", { messages: "go" }), OpenAI.BadRequestError);
    await assert.rejects(failing("busy"), OpenAI.RateLimitError);
    await assert.rejects(failing("down"), OpenAI.InternalServerError);
  },
  async retries() {
    const patient = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 3 });
    const answer = await patient.chat.completions.create({ model: "flaky", messages });
    assert.equal(answer.choices[0].message.content, words);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(name, "ok");
}
