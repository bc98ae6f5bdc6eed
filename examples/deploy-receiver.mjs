#!/usr/bin/env node
/**
 * Runs a command for each image that is pushed: a receiver of Berth's webhooks (format `native`) in one file. Node 20, no packages.
 *
 *   WEBHOOK_SECRET=whsec_… node deploy-receiver.mjs ./deploy.sh
 *
 * The command finds IMAGE (registry.example.com/acme/api:v1@sha256:…), REPOSITORY, TAG, DIGEST and PREVIOUS_DIGEST in its
 * environment. RECEIVER_PORT is where it listens (9000); JOURNAL a file in which it writes down what it took and what is done.
 *
 * A delivery may come again, and later than one that happened after it. So: what was taken once is not taken again, by its
 * `webhook-id`; of a tag nothing is deployed that is older than what was; one command at a time runs for a tag; and what was taken
 * when this program ended is done when it starts again.
 */
import { spawn } from 'node:child_process';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const { WEBHOOK_SECRET = '', RECEIVER_PORT = '9000', JOURNAL = 'deployments.jsonl' } = process.env;
const command = process.argv.slice(2);
if (!WEBHOOK_SECRET.startsWith('whsec_') || command.length === 0) {
  console.error('usage: WEBHOOK_SECRET=whsec_… node deploy-receiver.mjs COMMAND [ARGUMENT...]');
  process.exit(2);
}

/** Seconds by which clocks may differ, and the largest body that is read. */
const TOLERANCE = 5 * 60;
const MAX_BYTES = 64 * 1024;

/** By `webhook-id`: 'taken' and then 'done'. */
const seen = new Map();
/** By repository and tag: the newest `sequence` that was deployed, and the command that runs last. */
const newest = new Map();
const running = new Map();

createServer((request, response) => {
  receive(request).then(
    (status) => response.writeHead(status).end(),
    (error) => {
      console.error(error);
      response.writeHead(500).end();
    },
  );
}).listen(Number(RECEIVER_PORT), () => console.log(`Listening on port ${RECEIVER_PORT}. Ctrl-C ends it.`));

resume();

async function receive(request) {
  if (request.method !== 'POST') return 405;
  const body = await read(request);
  if (body === null) return 413;
  if (!isSigned(request.headers, body)) return 401;
  const id = request.headers['webhook-id'];
  if (seen.has(id)) return 200;
  const event = JSON.parse(body);
  // Taken before it is acknowledged: what is lost after this line is in the journal, what is lost before it comes again.
  note({ id, state: 'taken', event });
  deploy(id, event);
  return 202;
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`; while a secret is replaced there are two signatures. */
function isSigned(headers, body) {
  const { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': signatures = '' } = headers;
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) < TOLERANCE)) return false;
  const key = Buffer.from(WEBHOOK_SECRET.slice('whsec_'.length), 'base64');
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(' ').some((one) => {
    const [version, signature = ''] = one.split(',');
    const given = Buffer.from(signature, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

/** After what runs for the same tag. */
function deploy(id, event) {
  const { repository, tag } = event.data;
  const name = `${event.source} ${tag}`;
  const turn = (running.get(name) ?? Promise.resolve()).then(async () => {
    const isPush = event.type === 'berth.image.tag.created' || event.type === 'berth.image.tag.moved';
    if (event.type === 'berth.webhook.test') console.log('A test arrived, with the right signature. Nothing is deployed.');
    const isNews = event.sequence > (newest.get(name) ?? '');
    if (isPush && isNews) {
      newest.set(name, event.sequence);
      console.log(`deploying ${repository}:${tag}`);
      await run(event.data);
    }
    note({ id, state: 'done', ...(isPush ? { name, sequence: event.sequence } : {}) });
  });
  running.set(name, turn);
}

/** What a name may hold is no matter: it reaches the command as a variable, and no shell reads it. */
function run({ image, repository, tag, digest, previousDigest = '' }) {
  return new Promise((resolve) => {
    const env = {
      ...process.env,
      IMAGE: image,
      REPOSITORY: repository,
      TAG: tag,
      DIGEST: digest,
      PREVIOUS_DIGEST: previousDigest,
    };
    const child = spawn(command[0], command.slice(1), { env: { ...env, WEBHOOK_SECRET: '' }, stdio: 'inherit' });
    child.on('error', (error) => {
      console.error(`${command[0]}: ${error.message}`);
      resolve();
    });
    child.on('exit', (code) => {
      if (code !== 0) console.error(`deploying ${repository}:${tag} failed: ${command[0]} ended with ${code}`);
      resolve();
    });
  });
}

function note(entry) {
  seen.set(entry.id, entry.state);
  appendFileSync(JOURNAL, `${JSON.stringify(entry)}\n`);
}

/** Goes on with what was taken and not done. */
function resume() {
  const lines = existsSync(JOURNAL) ? readFileSync(JOURNAL, 'utf8').split('\n') : [];
  const taken = new Map();
  for (const line of lines) {
    let entry;
    try {
      entry = JSON.parse(line);
    } catch {
      continue; // A line that was cut off: what it was about was not acknowledged, and comes again.
    }
    seen.set(entry.id, entry.state);
    if (entry.state === 'taken') taken.set(entry.id, entry.event);
    else taken.delete(entry.id);
    if (entry.sequence > (newest.get(entry.name) ?? '')) newest.set(entry.name, entry.sequence);
  }
  for (const [id, event] of taken) deploy(id, event);
}
