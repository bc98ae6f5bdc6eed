import { beforeEach, describe, expect, test } from 'vitest';
import { type Changes, ecr } from '../../world/aws.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let alice: Person;
let key: { id: string; secret: string };

const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
  key = { id: alice.keyId, secret: alice.secret };
});

beforeEach(async () => {
  world = await build();
});

const signed = (changes: Changes = {}, as = key) => ecr(world, as, 'DescribeRepositories', {}, changes);

const MINUTE = 60_000;

describe('a signed request', () => {
  test('is answered with JSON, the time and the id of the request', async () => {
    const { status, body, headers } = await signed();
    expect(status).toBe(200);
    expect(body).toEqual({ repositories: [] });
    expect(headers.get('content-type')).toBe('application/x-amz-json-1.1');
    expect(headers.get('date')).toMatch(/GMT$/);
    expect(headers.get('x-amzn-requestid')).toBe(headers.get('x-request-id'));
  });

  test('may name any region', async () => {
    expect((await signed({ region: 'mars-north-1' })).status).toBe(200);
  });

  test('may have further signed headers, and a hash of the body', async () => {
    const hash = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
    expect((await signed({ headers: { 'x-amz-content-sha256': hash, 'amz-sdk-request': 'attempt=1; max=3' } })).status).toBe(
      200,
    );
  });

  test('may have no spaces behind the commas, and runs of spaces in a header', async () => {
    const tamper: Changes['tamper'] = ({ headers }) => {
      headers.authorization = (headers.authorization ?? '').replaceAll(', ', ',');
      headers['x-amz-user-agent'] = 'one   two ';
    };
    expect((await signed({ headers: { 'x-amz-user-agent': 'one two' }, tamper })).status).toBe(200);
  });

  test('is accepted with the previous registry secret during a rotation', async () => {
    const old = world.env.REGISTRY_SECRET ?? '';
    world.env.REGISTRY_SECRET = 'another secret of at least 32 characters';
    world.env.REGISTRY_SECRET_PREVIOUS = old;
    expect((await signed()).status).toBe(200);
  });

  test.each([
    ['a clock 14 minutes behind', -14],
    ['a clock 14 minutes ahead', 14],
  ])('is accepted with %s', async (_, minutes) => {
    expect((await signed({ at: Date.now() + minutes * MINUTE })).status).toBe(200);
  });
});

describe('a request is refused', () => {
  const tampered: [string, NonNullable<Changes['tamper']>, string][] = [
    ['with another body', (request) => (request.body = '{"maxResults":1}'), 'InvalidSignature'],
    [
      'for another operation',
      ({ headers }) =>
        (headers['x-amz-target'] = (headers['x-amz-target'] ?? '').replace('Describe', 'Delete').replace('ies', 'y')),
      'InvalidSignature',
    ],
    ['with an unsigned header of AWS', ({ headers }) => (headers['x-amz-more'] = '1'), 'IncompleteSignature'],
    ['with a security token', ({ headers }) => (headers['x-amz-security-token'] = 'x'), 'UnrecognizedClient'],
    [
      'with a hash that is not that of the body',
      ({ headers }) => (headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'),
      'IncompleteSignature',
    ],
    ['without a signature', ({ headers }) => delete headers.authorization, 'MissingAuthenticationToken'],
    ['with a bearer token', ({ headers }) => (headers.authorization = alice.bearer), 'IncompleteSignature'],
    [
      'with a bearer token behind the signature',
      ({ headers }) => (headers.authorization += `, ${alice.bearer}`),
      'IncompleteSignature',
    ],
    ['with two signatures', ({ headers }) => (headers.authorization += `, Signature=${'0'.repeat(64)}`), 'IncompleteSignature'],
    [
      'with another signature',
      ({ headers }) => (headers.authorization = (headers.authorization ?? '').replace(/.{64}$/, '0'.repeat(64))),
      'InvalidSignature',
    ],
    ['with a cookie', ({ headers }) => (headers.cookie = 'berth=x'), 'IncompleteSignature'],
    ['with a signature in the query', (request) => (request.path = '/?X-Amz-Signature=0'), 'IncompleteSignature'],
    ['with another time', ({ headers }) => (headers['x-amz-date'] = '20200101T000000Z'), 'InvalidSignature'],
    ['without a time', ({ headers }) => delete headers['x-amz-date'], 'IncompleteSignature'],
    [
      'with signed headers that are not sorted',
      ({ headers }) =>
        (headers.authorization = (headers.authorization ?? '').replace('content-type;host', 'host;content-type')),
      'IncompleteSignature',
    ],
    [
      'with a header that is not signed',
      ({ headers }) => (headers.authorization = (headers.authorization ?? '').replace('host;', '')),
      'IncompleteSignature',
    ],
  ];

  test.each(tampered)('%s', async (_, tamper, error) => {
    const answer = await signed({ tamper });
    expect([answer.status, answer.error]).toEqual([400, error]);
  });

  test('with a hash that is signed but not that of the body', async () => {
    expect((await signed({ headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } })).error).toBe('InvalidSignature');
  });

  test('for another service', async () => {
    expect((await signed({ service: 's3' })).error).toBe('InvalidSignature');
  });

  test.each([
    [-16, 'Signature expired'],
    [16, 'Signature not yet current'],
  ])('with a clock that is %s minutes wrong', async (minutes, message) => {
    const answer = await signed({ at: Date.now() + minutes * MINUTE });
    expect(answer).toMatchObject({ status: 400, error: 'InvalidSignature' });
    expect(answer.message).toMatch(message);
  });

  test('with a key id of another form, or with another secret', async () => {
    expect((await signed({}, { ...key, id: 'AKIDEXAMPLE' })).error).toBe('UnrecognizedClient');
    expect((await signed({}, { ...key, secret: `${key.secret}x` })).error).toBe('InvalidSignature');
    expect((await signed({}, { ...key, id: 'BRTHAAAAAAAAAAAAAAAA' })).error).toBe('InvalidSignature');
  });

  test('with a revoked key, and with the key of a disabled user, in the same words', async () => {
    const bob = await inviteUser(world, 'bob');
    const asBob = { id: bob.keyId, secret: bob.secret };
    expect((await api(world, 'DELETE', `/keys/${alice.keyId}`)).status).toBeLessThan(300);
    expect((await api(world, 'PATCH', '/users/bob', { body: { disabled: true } })).status).toBe(200);
    const [revoked, disabled] = [await signed(), await signed({}, asBob)];
    expect(revoked).toMatchObject({ status: 400, error: 'UnrecognizedClient' });
    expect(disabled.body).toEqual(revoked.body);
  });

  test('for an operation that does not exist, before anything is read', async () => {
    expect(await ecr(world, key, 'constructor')).toMatchObject({ status: 400, error: 'UnknownOperation' });
    expect(await ecr(world, key, 'StartImageScan')).toMatchObject({ status: 400, error: 'UnsupportedOperation' });
  });

  test('with a body that is not JSON', async () => {
    expect((await ecr(world, key, 'DescribeRepositories', '{')).error).toBe('Serialization');
  });
});
