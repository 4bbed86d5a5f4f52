// Sends five events with the npm SDK `cloudevents` 10: structured, binary, batched.

const { CloudEvent, HTTP } = require("cloudevents");

const url = process.argv[2];
// In binary mode this SDK writes headers as they are: only ASCII passes.
const event = (number) =>
  new CloudEvent({ id: `js-${number}`, source: "/sdk", type: "order", subject: "zoe", data: { value: 1 } });

async function send({ headers, body }) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(url, { method: "POST", headers, body: text });
  if (answer.status !== 204) throw new Error(`${answer.status}: ${await answer.text()}`);
}

async function main() {
  await send(HTTP.structured(event(1)));
  await send(HTTP.binary(event(2)));
  // The SDK reads batches and writes none: a batch is a list of what it writes.
  const headers = { "content-type": "application/cloudevents-batch+json" };
  await send({ headers, body: [event(3), event(4), event(5)] });
}

main().catch((why) => {
  console.error(why);
  process.exit(1);
});
