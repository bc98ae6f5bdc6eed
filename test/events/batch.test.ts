/** Batches: preconditions with reasons, handles, named parameters. */
import { beforeEach, describe, expect, test } from 'vitest';
import schema from '../../schema.sql?raw';
import { AssumptionFailed, type Batch, newBatch, withRetries } from '../../src/events/batch.ts';
import { recordEvent } from '../../src/events/outbox.ts';
import { prepare } from '../../src/events/sql.ts';
import { PRECONDITIONS } from '../../src/vocabulary/reasons.ts';
import { isRefusal, Refusal } from '../../src/vocabulary/refusal.ts';
import { newWorld, type World } from '../world/world.ts';

let world: World;

beforeEach(async () => {
  world = await newWorld();
  const { DB } = world.env;
  await DB.batch([
    DB.prepare('DROP TABLE IF EXISTS scratch'),
    DB.prepare('CREATE TABLE scratch (name TEXT PRIMARY KEY, size INTEGER)'),
  ]);
});

function insert(batch: Batch, name: string, size = 1) {
  return batch.run('INSERT INTO scratch (name, size) VALUES (:name, :size)', { name, size });
}

async function names(): Promise<string[]> {
  const { results } = await world.env.DB.prepare('SELECT name FROM scratch ORDER BY name').all<{ name: string }>();
  return results.map(({ name }) => name);
}

async function refusalOf(work: Promise<unknown>): Promise<Refusal> {
  const error = await work.then(
    () => null,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(Refusal);
  return error as Refusal;
}

describe('an assumption', () => {
  test('that holds lets the batch through; one that does not refuses it, and no retry makes it again', async () => {
    const batch = newBatch(world.env);
    batch.assume('SELECT name FROM scratch WHERE size > :size', { size: 5 });
    insert(batch, 'a', 7);
    insert(batch, 'b', 8);
    await batch.commit();
    let tries = 0;
    const again = withRetries(() => {
      tries++;
      const second = newBatch(world.env);
      second.assume('SELECT name FROM scratch WHERE size > :size', { size: 5 });
      second.require('conflict', 'FALSE');
      insert(second, 'c');
      return second.commit();
    });
    expect(await refusalOf(again)).toBeInstanceOf(AssumptionFailed);
    expect(tries).toBe(1);
    expect(await names()).toEqual(['a', 'b']);
  });
});

describe('a precondition', () => {
  test.each(PRECONDITIONS)('that does not hold refuses the batch with its reason: %s', async (reason) => {
    const batch = newBatch(world.env);
    insert(batch, 'a');
    batch.require(reason, 'FALSE');
    expect((await refusalOf(batch.commit())).reason).toBe(reason);
    expect(await names()).toEqual([]);
  });

  test('that holds changes nothing', async () => {
    const batch = newBatch(world.env);
    batch.require('conflict', ':size > 2', { size: 3 });
    insert(batch, 'a');
    await batch.commit();
    expect(await names()).toEqual(['a']);
  });

  test('that is neither true nor false does not hold', async () => {
    const batch = newBatch(world.env);
    batch.require('conflict', 'NULL > 1');
    expect((await refusalOf(batch.commit())).reason).toBe('conflict');
  });

  test('that is the first of several is the one that is reported', async () => {
    const batch = newBatch(world.env);
    batch.require('not-found', 'FALSE');
    batch.require('version-mismatch', 'FALSE');
    expect((await refusalOf(batch.commit())).reason).toBe('not-found');
  });

  test('sees earlier changes of the batch', async () => {
    const batch = newBatch(world.env);
    insert(batch, 'a');
    batch.require('conflict', "EXISTS (SELECT 1 FROM scratch WHERE name = 'a')");
    await batch.commit();
    expect(await names()).toEqual(['a']);
  });

  test('has details that are known beforehand, or computed when needed', async () => {
    const batch = newBatch(world.env);
    let asked = 0;
    batch.require('conflict', 'TRUE', {}, async () => {
      asked += 1;
      return {};
    });
    batch.require('name-taken', 'FALSE', {}, async () => ({ message: 'taken', detail: await names() }));
    const refusal = await refusalOf(batch.commit());
    expect([refusal.message, refusal.detail, asked]).toEqual(['taken', [], 0]);
  });

  test('shares its details with others of the same reason', async () => {
    const batch = newBatch(world.env);
    batch.require('limit-reached', 'TRUE', {}, { message: 'too many' });
    batch.require('limit-reached', 'FALSE');
    expect((await refusalOf(batch.commit())).message).toBe('too many');
    expect(() => batch.require('limit-reached', 'FALSE', {}, { message: 'something else' })).toThrow('two preconditions');
  });
});

test('every reason for refusing a batch has a constraint in the schema, and no other reason has one', () => {
  const table = /CREATE TABLE IF NOT EXISTS refusals \(([\s\S]*?)\) STRICT/.exec(schema)?.[1] ?? '';
  const found = [...table.matchAll(/CONSTRAINT (\w+) CHECK \(reason <> '([a-z-]+)'\)/g)];
  expect(found.map(([, , reason]) => reason)).toEqual([...PRECONDITIONS]);
  expect(found.filter(([, name, reason]) => name !== reason?.replaceAll('-', '_'))).toEqual([]);
});

test('a batch of an older version, whose reason has no constraint of its own, is refused as before', async () => {
  const statement = world.env.DB.prepare("INSERT INTO refusals (reason) SELECT 'refused'");
  await expect(statement.run()).rejects.toThrow('CHECK constraint failed: precondition');
});

test('a statement that fails for another reason is an error, not a refusal', async () => {
  const batch = newBatch(world.env);
  insert(batch, 'a');
  insert(batch, 'a');
  const error = await batch.commit().catch((failure: unknown) => failure);
  expect(isRefusal(error)).toBe(false);
  expect(String(error)).toMatch('UNIQUE constraint failed');
});

test('results are returned by handle, in any order', async () => {
  const batch = newBatch(world.env);
  const before = batch.query<{ count: number }>('SELECT count(*) AS count FROM scratch');
  batch.require('conflict', 'TRUE');
  const made = batch.run('INSERT INTO scratch SELECT value, 1 FROM json_each(:names)', { names: ['a', 'b'] });
  const after = batch.query<{ name: string }>('SELECT name FROM scratch ORDER BY name');
  const none = batch.query<{ name: string }>("SELECT name FROM scratch WHERE name = 'z'");
  const results = await batch.commit();
  expect(results.first(before)).toEqual({ count: 0 });
  expect(results.changes(made)).toBe(2);
  expect(results.of(after)).toEqual([{ name: 'a' }, { name: 'b' }]);
  expect(results.first(none)).toBeNull();
});

describe('named parameters', () => {
  const one = (sql: string, parameters: Parameters<typeof prepare>[2]) => prepare(world.env, sql, parameters).first();

  test('are bound wherever they occur, and once each', async () => {
    const sql = 'SELECT :b AS b, :a AS a, :b AS again';
    expect(await one(sql, { a: 1, b: 'two', unused: 3 })).toEqual({ b: 'two', a: 1, again: 'two' });
  });

  test('are not looked for within quotes', async () => {
    expect(await one("SELECT 'user:' || :name AS subject, 'it''s :name' AS text", { name: 'bob' })).toEqual({
      subject: 'user:bob',
      text: "it's :name",
    });
  });

  test('may be booleans, lists and null', async () => {
    const sql = 'SELECT :yes AS yes, (SELECT count(*) FROM json_each(:list)) AS count, :none IS NULL AS absent';
    expect(await one(sql, { yes: true, list: [1, { a: 2 }], none: null })).toEqual({ yes: 1, count: 2, absent: 1 });
  });

  test('without a value are an error at once', () => {
    expect(() => prepare(world.env, 'SELECT :missing', { other: 1 })).toThrow(':missing');
  });
});

test('an event is recorded by the batch of the change, or not at all', async () => {
  const by = { subject: 'user:bob', key: 'k' };
  const record = (batch: Batch) =>
    recordEvent(batch, {
      about: 'acme/api',
      by,
      select: "SELECT 'blob.deleted' AS type, json_object('digest', :digest) AS target",
      parameters: { digest: 'sha256:a' },
    });
  const refused = newBatch(world.env);
  record(refused);
  refused.require('conflict', 'FALSE');
  await refusalOf(refused.commit());
  const done = newBatch(world.env);
  record(done);
  record(done);
  await done.commit();
  const { results } = await world.env.DB.prepare('SELECT about, sequence, type, target, actor, key_id FROM events').all();
  const event = { about: 'acme/api', type: 'blob.deleted', target: '{"digest":"sha256:a"}', actor: 'user:bob', key_id: 'k' };
  expect(results).toEqual([
    { ...event, sequence: 1 },
    { ...event, sequence: 2 },
  ]);
});

describe('a change that depends on an earlier read', () => {
  test('is decided again if another request came in between', async () => {
    let tries = 0;
    const done = await withRetries(async () => {
      const batch = newBatch(world.env);
      batch.require('overtaken', ':tries > 2', { tries: ++tries });
      await batch.commit();
      return tries;
    });
    expect(done).toBe(3);
  });

  test('gives up after five tries with a conflict', async () => {
    let tries = 0;
    const work = withRetries(async () => {
      tries += 1;
      throw new Refusal('overtaken');
    });
    expect((await refusalOf(work)).reason).toBe('overtaken');
    expect(tries).toBe(5);
  });

  test('is not retried for any other reason', async () => {
    let tries = 0;
    const work = withRetries(async () => {
      tries += 1;
      throw new Refusal('conflict');
    });
    await refusalOf(work);
    expect(tries).toBe(1);
  });
});
