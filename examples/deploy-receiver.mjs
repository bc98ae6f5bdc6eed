#!/usr/bin/env node
/**
 * Receives webhooks of Berth (format `native`) and runs a command for each pushed image. Needs Node 20 and no packages.
 *
 *   WEBHOOK_SECRET=whsec_… node deploy-receiver.mjs ./deploy.sh
 *
 * The command gets IMAGE (registry.example.com/acme/api:v1@sha256:…), REPOSITORY, TAG, DIGEST and PREVIOUS_DIGEST in its
 * environment. RECEIVER_PORT is the port to listen on, by default 9000. JOURNAL is the path of the file that records which
 * deliveries were accepted and which are done.
 *
 * The registry may send a delivery twice, and deliveries may arrive in another order than the pushes. Therefore:
 * - Each `webhook-id` is accepted once.
 * - An image is not deployed if a newer one was deployed for the same tag.
 * - For each tag, one command runs at a time.
 * - Deliveries that were accepted but not done when this program ended are done when it starts again.
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

/** The maximum difference between the clocks in seconds, and the maximum number of bytes of a body. */
const TOLERANCE = 5 * 60;
const MAX_BYTES = 64 * 1024;

/** The state of each `webhook-id`: 'taken' when it was accepted, then 'done'. */
const seen = new Map();
/** For each repository and tag, the newest `sequence` that was deployed, and the promise of the last command in the queue. */
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
  // The journal is written before the answer. So after a crash the delivery is in the journal, or the registry sends it again.
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

/**
 * Checks the signature of Standard Webhooks: the HMAC-SHA256 of `id.timestamp.body`. The header may contain several signatures,
 * because the registry signs with the old and the new secret while a secret is being replaced.
 */
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

/** Runs the command when the earlier commands for the same tag have ended. */
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

/** Runs the command. It gets all names in environment variables, which no shell parses, so names may contain any character. */
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

/** Reads the journal, and continues with the deliveries that were accepted but are not done. */
function resume() {
  const text = existsSync(JOURNAL) ? readFileSync(JOURNAL, 'utf8') : '';
  // The last line is cut off if this program was killed while it wrote. The next entry must not be appended to it.
  if (text !== '' && !text.endsWith('\n')) appendFileSync(JOURNAL, '\n');
  const taken = new Map();
  for (const line of text.split('\n')) {
    let entry;
    try {
      entry = JSON.parse(line);
    } catch {
      continue; // The line was cut off, so its delivery was not acknowledged, and comes again.
    }
    seen.set(entry.id, entry.state);
    if (entry.state === 'taken') taken.set(entry.id, entry.event);
    else taken.delete(entry.id);
    if (entry.sequence > (newest.get(entry.name) ?? '')) newest.set(entry.name, entry.sequence);
  }
  for (const [id, event] of taken) deploy(id, event);
}
