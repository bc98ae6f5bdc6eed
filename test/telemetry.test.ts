/** The log has a line without secrets for each request and each background run. Every answer has the id of its request. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import worker from '../src/index.ts';
import { configureLog, report } from '../src/telemetry.ts';
import { counting } from './world/counting.ts';
import { newWorld, type World, worldOf } from './world/world.ts';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** The digest of `hello`. */
const HELLO = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';

let world: World;
let lines: Record<string, unknown>[];
beforeEach(async () => {
  world = await newWorld({ LOG: 'json' });
  lines = [];
  const keep = (line: string) => lines.push(JSON.parse(line));
  for (const level of ['log', 'warn', 'error'] as const) vi.spyOn(console, level).mockImplementation(keep);
});
afterEach(() => vi.restoreAllMocks());

describe('the log line of a request', () => {
  test('has the caller, the route, the result and the cost', async () => {
    await world.fetch('POST', `/v2/acme/api/blobs/uploads/?digest=${HELLO}`, { body: 'hello' });
    const { env, counts } = counting(world.env);
    lines.length = 0;
    const response = await worldOf(env).fetch('HEAD', `/v2/acme/api/blobs/${HELLO}`);
    const { id, ms, ...line } = lines[0] ?? {};
    expect(lines).toHaveLength(1);
    expect(id).toBe(response.headers.get('x-request-id'));
    expect(ms).toBeTypeOf('number');
    expect(counts.d1).toBeGreaterThan(0);
    expect(line).toEqual({
      event: 'request',
      level: 'info',
      method: 'HEAD',
      route: '/v2/:name{.+}/blobs/:digest',
      door: 'v2',
      subject: 'user:admin',
      repository: 'acme/api',
      status: 200,
      reason: null,
      bytesIn: null,
      bytesOut: 5,
      d1Calls: counts.d1,
      rowsRead: counts.rowsRead,
      rowsWritten: counts.rowsWritten,
      r2ClassA: 0,
      r2ClassB: 0,
    });
  });

  test('counts the writes and the received bytes of a push', async () => {
    const { env, counts } = counting(world.env);
    await worldOf(env).fetch('POST', `/v2/acme/api/blobs/uploads/?digest=${HELLO}`, { body: 'hello' });
    const { d1, rowsWritten, r2Writes } = counts;
    expect(lines[0]).toMatchObject({ status: 201, bytesIn: 5, d1Calls: d1, rowsWritten, r2ClassA: r2Writes });
    expect(r2Writes).toBe(1);
  });

  test('of a refused request has the reason', async () => {
    await world.fetch('GET', '/v2/acme/api/manifests/v1');
    await world.fetch('GET', '/v2/acme/api/manifests/v1', { authorization: null });
    await world.fetch('GET', '/nowhere');
    await world.fetch('DELETE', '/api/v1/repositories/Acme%2Fapi');
    expect(lines.map(({ door, status, reason, subject }) => [door, status, reason, subject])).toEqual([
      ['v2', 404, 'manifest-unknown', 'user:admin'],
      ['v2', 401, 'unauthenticated', null],
      [null, 404, 'address-unknown', null],
      ['api', 400, 'repository-name-invalid', null],
    ]);
  });

  test('of a failed request has the same id as the line with the error', async () => {
    const DB = new Proxy(world.env.DB, {
      get: () => () => {
        throw new Error('D1 is away');
      },
    });
    const response = await worldOf({ ...world.env, DB }).fetch('GET', '/v2/acme/api/tags/list');
    expect(response.status).toBe(503);
    const id = response.headers.get('x-request-id');
    expect(lines).toMatchObject([
      { event: 'request.failed', level: 'error', requestId: id, error: expect.stringContaining('D1 is away') },
      { event: 'request', id, status: 503, reason: 'storage-unavailable' },
    ]);
  });

  test('contains no credential, no query string and no body', async () => {
    const secret = 'a-password-that-nobody-has';
    const body = JSON.stringify({ description: 'words-of-a-body' });
    const headers = { 'content-type': 'application/json', cookie: 'words-of-a-cookie' };
    await world.fetch('GET', '/token?scope=words-of-a-query', { authorization: `Basic ${btoa(`alice:${secret}`)}` });
    await world.fetch('GET', '/v2/acme/api/tags/list?last=words-of-a-query', { authorization: `Bearer ${secret}` });
    await world.fetch('PUT', '/api/v1/repositories/acme/api', { headers, body });
    const log = JSON.stringify(lines);
    expect(lines).toHaveLength(3);
    for (const text of [secret, btoa(`alice:${secret}`), 'words-of']) expect(log).not.toContain(text);
  });

  test('names who got a token', async () => {
    await world.fetch('GET', '/token');
    expect(lines).toMatchObject([{ route: '/token', door: 'token', subject: 'user:admin', status: 200 }]);
  });
});

describe('X-Request-Id', () => {
  test.each(['/v2/', '/nowhere', '/join', '/api/openapi.json', '/v2/a/b/c/%2F', '/token'])(
    'is in the answer of %s',
    async (path) => {
      for (const authorization of [undefined, null]) {
        const response = await world.fetch('GET', path, {
          headers: { 'cf-ray': '' },
          ...(authorization === null ? { authorization } : {}),
        });
        expect(response.headers.get('x-request-id')).toMatch(UUID);
      }
    },
  );

  test("is Cloudflare's own id on Cloudflare, and never what another client sends", async () => {
    const sent = async (ray: string, to = world) =>
      (await to.fetch('GET', '/v2/', { headers: { 'cf-ray': ray } })).headers.get('x-request-id');
    expect(await sent('230b030023ae2822-SJC')).toBe('230b030023ae2822-SJC');
    expect(await sent('"}{"forged":"line')).toMatch(UUID);
    expect(await sent('230b030023ae2822-SJC', worldOf({ ...world.env, ADDRESS_FROM: 'socket' }))).toMatch(UUID);
  });
});

describe('background runs', () => {
  test('write a line for each run and for each of its jobs', async () => {
    const controller = { scheduledTime: Date.UTC(2026, 0, 1, 12, 17), cron: '7,17 * * * *', noRetry: () => {} };
    await worker.scheduled(controller, world.env);
    const jobs = lines.filter(({ event }) => event === 'schedule.job');
    expect(jobs).not.toEqual([]);
    for (const job of jobs) expect(job).toMatchObject({ outcome: 'ok', rowsWritten: expect.any(Number) });
    const run = lines.find(({ event }) => event === 'schedule');
    expect(run).toMatchObject({ outcome: 'ok', cron: '7,17 * * * *', d1Calls: expect.any(Number), ms: expect.any(Number) });
    expect(run?.d1Calls).toBeGreaterThan(jobs.length);
  });

  test('write a line with the error if a run failed', async () => {
    const batch = { queue: 'unknown', messages: [] } as unknown as MessageBatch;
    await expect(worker.queue(batch, world.env, {} as ExecutionContext)).rejects.toThrow('there is no consumer');
    expect(lines).toMatchObject([{ event: 'queue', queue: 'unknown', outcome: 'failed' }]);
  });
});

describe('the log mode', () => {
  const all = () => {
    report('queue', { messages: 1 });
    report('events.not-matched', { error: new Error('the database is away') });
    report('schedule.budget-used-up', { message: 'nothing is left', job: 'scrub' });
  };

  test('text writes only problems, in words', () => {
    const written: string[] = [];
    for (const level of ['log', 'warn', 'error'] as const)
      vi.spyOn(console, level).mockImplementation((line) => written.push(line));
    configureLog({ LOG: 'text' });
    all();
    expect(written).toEqual([
      'events.not-matched: the database is away',
      'schedule.budget-used-up: nothing is left (job scrub)',
    ]);
  });

  test('off writes nothing', () => {
    configureLog({ LOG: 'off' });
    all();
    expect(lines).toEqual([]);
  });

  test('is JSON by default', () => {
    configureLog({});
    all();
    expect(lines.map(({ event, level }) => [event, level])).toEqual([
      ['queue', 'info'],
      ['events.not-matched', 'error'],
      ['schedule.budget-used-up', 'warn'],
    ]);
  });
});
