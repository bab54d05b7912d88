// A run of five durable steps that do nothing, on DBOS.
import { createServer } from "node:http";
import { DBOS } from "@dbos-inc/dbos-sdk";

DBOS.setConfig({
  name: "bench",
  systemDatabaseUrl: process.env.DATABASE_URL,
  systemDatabasePoolSize: Number(process.env.POOL),
  logLevel: "error",
});

const run = DBOS.registerWorkflow(
  async () => {
    for (let number = 1; number <= 5; number++) {
      await DBOS.runStep(async () => {}, { name: `step ${number}` });
    }
    return { status: "completed" };
  },
  { name: "run" },
);
await DBOS.launch();

const server = createServer((request, response) => {
  request.resume();
  request.on("end", async () => {
    try {
      const result = JSON.stringify(await run());
      response.writeHead(200, { "Content-Type": "application/json" }).end(result);
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
});
server.listen(Number(process.env.PORT), "127.0.0.1");
