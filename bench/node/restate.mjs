// A run of five durable steps that do nothing, on Restate.
import { createServer } from "node:http2";
import * as restate from "@restatedev/restate-sdk";

// The SDK expects Node.js 22; this is all that it misses in 20.
Promise.withResolvers ??= function () {
  const all = {};
  all.promise = new this((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
};

const steps = restate.service({
  name: "Steps",
  handlers: {
    run: async (ctx) => {
      for (let number = 1; number <= 5; number++) {
        await ctx.run(`step ${number}`, () => {});
      }
      return { status: "completed" };
    },
  },
});

const handler = restate.endpoint().bind(steps).http2Handler();
createServer(handler).listen(Number(process.env.PORT), "127.0.0.1");
