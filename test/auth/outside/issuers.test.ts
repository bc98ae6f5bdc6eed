import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isIssuer } from '../../../src/auth/outside/issuers.ts';
import type { TrustRule } from '../../../src/auth/outside/oidc.ts';
import { Refusal } from '../../../src/vocabulary/refusal.ts';
import { AUDIENCE, type Issuer, newIssuer, newKey, takenFor } from '../../world/token-issuer.ts';

let logged: string[];
beforeEach(() => {
  logged = [];
  vi.spyOn(console, 'warn').mockImplementation((line) => logged.push(String(line)));
});
afterEach(() => vi.restoreAllMocks());

function rules(issuer: Issuer): TrustRule[] {
  return [
    {
      subject: 'ci:acme/x',
      issuer: issuer.url,
      audience: AUDIENCE,
      claims: { sub: 'somebody' },
      statements: [],
      lifetime: 3600,
    },
  ];
}

/**
 * `somebody` if the token is accepted, `nobody` if not, or the logged reason why the issuer could not be reached. The caller
 * gets the same answer for every reason.
 */
async function outcome(issuer: Issuer, token: string, seconds = 0): Promise<string> {
  try {
    const identity = await takenFor(token, rules(issuer), issuer.world(seconds));
    return identity ? 'somebody' : 'nobody';
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    expect(error.reason).toBe('issuer-unreachable');
    const told = `the keys of the issuer ${issuer.url} could not be fetched. Its discovery document must be public`;
    expect(error.message).toBe(told);
    expect(error.detail).toBeUndefined();
    return (logged.at(-1) ?? '').replace('issuer.unreachable: ', '').replace(` (issuer ${issuer.url})`, '');
  }
}

describe('the keys of an issuer', () => {
  test('are fetched once and used for ten minutes', async () => {
    const issuer = await newIssuer();
    const token = await issuer.sign({ exp: issuer.world().now / 1000 + 3600 });
    expect(await outcome(issuer, token)).toBe('somebody');
    expect(await outcome(issuer, token, 599)).toBe('somebody');
    expect(issuer.requests).toEqual([issuer.configuration, issuer.jwks]);
    expect(await outcome(issuer, token, 601)).toBe('somebody');
    expect(issuer.requests).toHaveLength(4);
  });

  test('are found at an issuer whose URL ends in a slash or has a path', async () => {
    for (const url of ['https://slash.example/', 'https://path.example/enterprise', 'https://port.example:8443']) {
      const issuer = await newIssuer({ url });
      expect(await outcome(issuer, await issuer.sign())).toBe('somebody');
    }
  });

  test('may come from the edge cache, without redirects, within five seconds', async () => {
    const timeout = vi.spyOn(AbortSignal, 'timeout');
    const issuer = await newIssuer();
    await outcome(issuer, await issuer.sign());
    expect(timeout.mock.calls).toEqual([[5000]]);
    for (const init of issuer.inits) {
      expect(init).toMatchObject({ redirect: 'manual', cf: { cacheTtl: 300, cacheEverything: true } });
      expect(init.signal).toBe(timeout.mock.results[0]?.value);
    }
  });

  test('that are new are fetched at once, past the edge cache, and then at most once a minute', async () => {
    const issuer = await newIssuer();
    expect(await outcome(issuer, await issuer.sign())).toBe('somebody');
    await issuer.rotate();
    expect(await outcome(issuer, await issuer.sign(), 1)).toBe('somebody');
    expect(issuer.requests).toHaveLength(4);
    expect(issuer.inits.slice(2).map(({ cache, cf }) => ({ cache, cf }))).toEqual(Array(2).fill({ cache: 'no-store' }));
    await issuer.rotate();
    for (const seconds of [2, 30, 60]) expect(await outcome(issuer, await issuer.sign(), seconds)).toBe('nobody');
    expect(issuer.requests).toHaveLength(4);
    expect(await outcome(issuer, await issuer.sign(), 61)).toBe('somebody');
    expect(issuer.requests).toHaveLength(6);
  });

  test('that were rotated unnoticed are found even if the edge cache has the old ones', async () => {
    const issuer = await newIssuer();
    const old = { keys: issuer.keys };
    await issuer.rotate();
    issuer.answers[issuer.jwks] = ({ cache }) => Response.json(cache === 'no-store' ? { keys: issuer.keys } : old);
    expect(await outcome(issuer, await issuer.sign())).toBe('somebody');
  });

  test('that nobody has are looked up by one of many concurrent requests', async () => {
    const issuer = await newIssuer();
    await outcome(issuer, await issuer.sign());
    const stranger = await issuer.sign({}, {}, await newKey());
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => outcome(issuer, stranger, 1)));
    expect(issuer.requests).toHaveLength(4);
    expect(new Set(outcomes)).toEqual(new Set(['nobody', 'it has not answered yet']));
  });

  test('are dropped when the issuer removes them', async () => {
    const issuer = await newIssuer();
    const token = await issuer.sign({ exp: issuer.world().now / 1000 + 3600 });
    expect(await outcome(issuer, token)).toBe('somebody');
    issuer.keys = [(await newKey()).publicJwk];
    expect(await outcome(issuer, token, 601)).toBe('nobody');
  });

  test('of many issuers are kept, without the oldest', async () => {
    const first = await newIssuer();
    const token = await first.sign();
    await outcome(first, token);
    for (let n = 0; n < 50; n++) {
      const other = await newIssuer();
      other.answers[other.configuration] = () => new Response('', { status: 500 });
      await outcome(other, token);
    }
    expect(await outcome(first, token)).toBe('somebody');
    expect(first.requests).toHaveLength(4);
  });
});

/** A promise that is rejected when the signal aborts, as the promise of `fetch` and the stream of a body are. */
function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}

describe('an unreachable issuer is distinguished from a wrong password:', () => {
  const wrong: [string, (issuer: Issuer) => void, string][] = [
    [
      'discovery fails',
      (i) => set(i, i.configuration, () => new Response('oh', { status: 500 })),
      'it answered with status 500',
    ],
    [
      'it has no discovery',
      (i) => set(i, i.configuration, () => new Response('', { status: 404 })),
      'it answered with status 404',
    ],
    ['its keys fail', (i) => set(i, i.jwks, () => new Response('oh', { status: 502 })), 'it answered with status 502'],
    ['the connection breaks', (i) => set(i, i.jwks, () => Promise.reject(new TypeError('secret'))), 'the connection failed'],
    [
      'its keys are elsewhere',
      (i) => set(i, i.jwks, () => new Response(null, { status: 302, headers: { location: 'https://elsewhere.example/' } })),
      'it answered with status 302',
    ],
    [
      'the document is that of another',
      (i) => set(i, i.configuration, () => Response.json({ issuer: `${i.url}/`, jwks_uri: i.jwks })),
      'its discovery document is that of another issuer',
    ],
    [
      'its keys are at an address within',
      (i) => set(i, i.configuration, () => Response.json({ issuer: i.url, jwks_uri: 'https://169.254.169.254/keys' })),
      'its keys are at no address of the web',
    ],
    [
      'its keys are not encrypted on the way',
      (i) => set(i, i.configuration, () => Response.json({ issuer: i.url, jwks_uri: i.jwks.replace('https', 'http') })),
      'its keys are at no address of the web',
    ],
    [
      'it does not say where its keys are',
      (i) => set(i, i.configuration, () => Response.json({ issuer: i.url, jwks_uri: [i.jwks] })),
      'its keys are at no address of the web',
    ],
    [
      'it speaks HTML',
      (i) => set(i, i.configuration, () => new Response('<p>')),
      'it answered with something else than a JSON object',
    ],
    ['it says nothing', (i) => set(i, i.jwks, () => new Response(null)), 'it answered with something else than a JSON object'],
    ['it has no list of keys', (i) => set(i, i.jwks, () => Response.json({ keys: 'a' })), 'it has no set of keys'],
    ['a key is no object', (i) => set(i, i.jwks, () => Response.json({ keys: [null] })), 'it has no set of keys'],
    [
      'it has too many keys',
      (i) => set(i, i.jwks, () => Response.json({ keys: Array(101).fill({}) })),
      'it has more than 100 keys',
    ],
  ];

  function set(issuer: Issuer, url: string, answer: (init: RequestInit) => Response | Promise<Response>): void {
    issuer.answers[url] = answer;
  }

  test.each(wrong)('%s', async (_, spoil, reason) => {
    const issuer = await newIssuer();
    spoil(issuer);
    expect(await outcome(issuer, await issuer.sign())).toBe(reason);
    expect(issuer.requests.filter((url) => !url.startsWith(issuer.url))).toEqual([]);
  });

  test('it never stops sending', async () => {
    const issuer = await newIssuer();
    let sent = 0;
    let stopped = false;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 64 * 1024;
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
      },
      cancel() {
        stopped = true;
      },
    });
    set(issuer, issuer.jwks, () => new Response(endless));
    expect(await outcome(issuer, await issuer.sign())).toBe('it answered with more than 262144 bytes');
    expect(stopped).toBe(true);
    expect(sent).toBeLessThan(1024 * 1024);
  });

  test.each<[string, (init: RequestInit) => Response | Promise<Response>]>([
    ['does not answer', ({ signal }) => never(signal as AbortSignal)],
    [
      'does not end its answer',
      () => new Response(new ReadableStream({ start: (c) => c.enqueue(new TextEncoder().encode('{"keys":[]}')) })),
    ],
  ])('it %s', async (_, answer) => {
    const controller = new AbortController();
    vi.spyOn(AbortSignal, 'timeout').mockReturnValue(controller.signal);
    const issuer = await newIssuer();
    set(issuer, issuer.jwks, (init) => {
      setTimeout(() => controller.abort(), 10);
      return answer(init);
    });
    expect(await outcome(issuer, await issuer.sign())).toBe('it took too long');
  });

  test('it is not asked for five seconds, then again past the edge cache', async () => {
    const issuer = await newIssuer();
    set(issuer, issuer.jwks, () => new Response('', { status: 503 }));
    const token = await issuer.sign();
    expect(await outcome(issuer, token)).toBe('it answered with status 503');
    issuer.answers = {};
    expect(await outcome(issuer, token, 4)).toBe('it failed a moment ago');
    expect(issuer.requests).toHaveLength(2);
    expect(await outcome(issuer, token, 5)).toBe('somebody');
    expect(issuer.inits.at(-1)).toMatchObject({ cache: 'no-store' });
  });

  test('it fails while asked for a new key, and the old ones stay valid', async () => {
    const issuer = await newIssuer();
    const old = await issuer.sign();
    await outcome(issuer, old);
    await issuer.rotate();
    set(issuer, issuer.jwks, () => new Response('', { status: 500 }));
    const token = await issuer.sign();
    expect(await outcome(issuer, token, 1)).toBe('it answered with status 500');
    expect(await outcome(issuer, old, 2)).toBe('somebody');
    expect(await outcome(issuer, token, 30)).toBe('it has not answered yet');
    issuer.answers = {};
    expect(await outcome(issuer, token, 61)).toBe('somebody');
  });
});

describe('an issuer URL is', () => {
  test.each([
    'https://token.actions.githubusercontent.com',
    'https://token.actions.githubusercontent.com/acme',
    'https://gitlab.com',
    'https://gitlab.acme.example:8443',
    'https://tenant.auth0.com/',
    'https://ghes.acme.example/_services/token',
    'https://xn--bcher-kva.example',
  ])('%s', (url) => expect(isIssuer(url, false)).toBe(true));

  test.each([
    '',
    'gitlab.com',
    'http://gitlab.com',
    'https://GitLab.com',
    'https://gitlab.com:443',
    'https://gitlab.com.',
    'https://gitlab.com?',
    'https://gitlab.com?a=b',
    'https://gitlab.com/#',
    'https://gitlab.com//',
    'https://gitlab.com/a/../b',
    'https://gitlab.com/ ',
    ' https://gitlab.com',
    'https://gitlab.com\n',
    'https://gitlab.com\\@evil.example',
    'https://user@gitlab.com',
    'https://user:password@gitlab.com',
    'https://localhost',
    'https://issuer.localhost',
    'https://metadata.google.internal',
    'https://router.lan',
    'https://vault.service.consul',
    'https://printer.local',
    'https://10.0.0.1.nip.io',
    'https://localtest.me',
    'https://registry',
    'https://127.0.0.1',
    'https://2130706433',
    'https://0x7f.1',
    'https://1.2.3.4.',
    'https://[::1]',
    'https://[::ffff:127.0.0.1]',
    'ftp://gitlab.com',
    'javascript:alert(1)',
    'data:application/json,{}',
    `https://gitlab.com/${'a'.repeat(250)}`,
  ])('not %j', (url) => expect(isIssuer(url, false)).toBe(false));

  test('on this machine and without encryption if allowed, but never with a user name', () => {
    expect(isIssuer('http://localhost:8080', true)).toBe(true);
    expect(isIssuer('http://127.0.0.1:8080/issuer', true)).toBe(true);
    expect(isIssuer('http://user@localhost', true)).toBe(false);
    expect(isIssuer('ftp://localhost', true)).toBe(false);
  });

  test('used only as far as it is allowed now, even if its rule was saved before', async () => {
    const issuer = await newIssuer({ url: 'http://localhost:9999' });
    const token = await issuer.sign();
    expect(await takenFor(token, rules(issuer), issuer.world())).toBeNull();
    expect(issuer.requests).toEqual([]);
    expect(await takenFor(token, rules(issuer), { ...issuer.world(), insecureIssuers: true })).not.toBeNull();
  });
});
