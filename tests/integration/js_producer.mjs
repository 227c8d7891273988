// A producer in JavaScript: publishes jobs with the official client, and reads one result.
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const [url, model, tenant, job, ...prompts] = process.argv.slice(2);
const connection = await connect({ servers: url });
const requests = prompts.map((content, n) => ({
  custom_id: `row-${n}`,
  url: "/v1/chat/completions",
  body: { messages: [{ role: "user", content }], max_tokens: 4 },
}));
const results = connection.subscribe(`results.${tenant}._.${job}`);
const body = JSON.stringify({ requests });
const ack = await jetstream(connection).publish(`jobs.batch.${model}.${tenant}`, body, {
  msgID: job,
});
const lines = [];
for await (const message of results) {
  lines.push(...message.string().split("\n").map((line) => JSON.parse(line)));
  if (lines.length >= requests.length) break;
}
const manager = await jetstreamManager(connection);
const stored = await manager.direct.getMessage("RESULTS", {
  last_by_subj: `results.${tenant}._.${job}`,
});
console.log(JSON.stringify({ stream: ack.stream, lines, stored: stored.string().length }));
await connection.close();
