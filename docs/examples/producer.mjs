// Submit a job for each question with the official client, and print each answer once it is stored.
//
//   npm install @nats-io/transport-node
//   node producer.mjs nats://127.0.0.1:4222 smollm2 default "Why is the sky blue?"
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";

const [url, model, tenant, ...questions] = process.argv.slice(2);
const patience = { timeout: 10_000 };

async function submit(connection, question) {
  // The id makes a repetition harmless: the same id with the same body is the same job.
  const job = `js-${randomUUID()}`;
  const named = headers();
  named.set("Fleet-Job-Id", job);
  const body = { messages: [{ role: "user", content: question }], max_tokens: 32 };
  const reply = await connection.request(
    `jobs.batch.${model}.${tenant}`,
    JSON.stringify({ url: "/v1/chat/completions", body }),
    { ...patience, headers: named },
  );
  const receipt = reply.json(); // from now on the job is safe
  if (receipt.error) throw new Error(`the queue refused ${job}: ${receipt.error.description}`);
  return job;
}

async function result(connection, job, tries = 600) {
  // Results stay for a week, so it does not matter whether the answer is there already.
  const stored = `$JS.API.DIRECT.GET.RESULTS.results.${tenant}._.${job}`;
  for (; tries > 0; tries--) {
    const reply = await connection.request(stored, "", patience);
    const missing = reply.headers?.code === 404;
    // A record says that another consumer goes on with the job.
    if (!missing && !reply.headers?.get("Fleet-Record")) return JSON.parse(reply.string());
    await sleep(500);
  }
  throw new Error(`no result of ${job} after five minutes`);
}

const connection = await connect({ servers: url, maxReconnectAttempts: -1 });
try {
  const jobs = await Promise.all(questions.map((question) => submit(connection, question)));
  for (const job of jobs) {
    const { response, error } = await result(connection, job);
    if (error) console.error(job, error.code, error.message);
    else console.log(response.body.choices[0].message.content);
  }
} finally {
  await connection.close();
}
