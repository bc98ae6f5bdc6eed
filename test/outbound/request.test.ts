/** Outgoing requests: their headers, the limit for the bytes of an answer, and timeouts. */
import { describe, expect, test, vi } from 'vitest';
import { deadlineIn, INTERNET, type RequestLimits, request } from '../../src/outbound/request.ts';

const URL_ASKED = 'https://outside.example.com/';
const never = new AbortController().signal;

/** A body that sends these chunks, and then ends, breaks, or stays open. */
function bodyOf(chunks: string[], end: 'ends' | 'breaks' | 'stays open') {
  const state = { cancelled: false };
  const left = chunks.map((chunk) => new TextEncoder().encode(chunk));
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = left.shift();
      if (next) controller.enqueue(next);
      else if (end === 'ends') controller.close();
      else if (end === 'breaks') controller.error(new TypeError('reset'));
      else await new Promise(() => {});
    },
    cancel() {
      state.cancelled = true;
    },
  });
  return { stream, state };
}

function ask(body: ReadableStream | null, { deadline = never, maxBytes = 10 }: Partial<RequestLimits> = {}) {
  return request(async () => new Response(body), URL_ASKED, {}, { deadline, maxBytes });
}

test('a redirect is not followed, and the deadline closes the connection', async () => {
  const sent: unknown[] = [];
  const fetched = async (url: string, init: unknown) => {
    sent.push(url, init);
    return new Response(null, { status: 302, headers: { location: 'http://10.0.0.1/' } });
  };
  const answer = await request(fetched, URL_ASKED, { method: 'POST', redirect: 'follow' }, { deadline: never, maxBytes: 1 });
  expect(sent).toEqual([URL_ASKED, { method: 'POST', redirect: 'manual', signal: never }]);
  expect([answer.status, answer.headers.get('location')]).toEqual([302, 'http://10.0.0.1/']);
});

describe('a whole body', () => {
  test('is returned up to the limit', async () => {
    expect(await (await ask(bodyOf(['12345', '67890'], 'ends').stream)).text()).toBe('1234567890');
    expect(await (await ask(null)).text()).toBe('');
  });

  test('is given up as soon as it is longer', async () => {
    const { stream, state } = bodyOf(['12345', '67890', '1', 'more'], 'stays open');
    expect(await (await ask(stream)).text()).toBeNull();
    expect(state.cancelled).toBe(true);
  });

  test('that breaks off is an error', async () => {
    await expect((await ask(bodyOf(['12345'], 'breaks').stream)).text()).rejects.toThrow('reset');
  });

  test('that does not end before the deadline is an error, and is cancelled', async () => {
    const { stream, state } = bodyOf(['12345'], 'stays open');
    const answer = await ask(stream, { deadline: deadlineIn(10) });
    await expect(answer.text()).rejects.toThrow();
    expect(state.cancelled).toBe(true);
  });
});

test('a deadline that several requests share keeps no listener of a request that has ended', async () => {
  const deadline = new AbortController().signal;
  let listeners = 0;
  vi.spyOn(deadline, 'addEventListener').mockImplementation(() => void listeners++);
  vi.spyOn(deadline, 'removeEventListener').mockImplementation(() => void listeners--);
  await (await ask(bodyOf(['12345'], 'ends').stream, { deadline })).text();
  await (await ask(bodyOf(['12345', '67890', '1'], 'stays open').stream, { deadline })).beginning();
  expect(listeners).toBe(0);
});

test('the timer of a deadline ends with the request, and the deadline then does not pass', async () => {
  const done = new AbortController();
  const deadline = deadlineIn(20, INTERNET.sleep, done.signal);
  done.abort();
  await scheduler.wait(60);
  expect(deadline.aborted).toBe(false);
});

describe('the beginning of a body', () => {
  test('is cut at the limit without waiting for the rest', async () => {
    const { stream, state } = bodyOf(['12345', '67890x', 'more'], 'stays open');
    expect(await (await ask(stream)).beginning()).toBe('1234567890');
    expect(state.cancelled).toBe(true);
  });

  test('has the bytes that arrived before the connection broke', async () => {
    expect(await (await ask(bodyOf(['12345'], 'breaks').stream)).beginning()).toBe('12345');
  });

  test('has the bytes that arrived before the deadline, by the given timer', async () => {
    const { stream, state } = bodyOf(['12345'], 'stays open');
    const { promise, resolve } = Promise.withResolvers<void>();
    const deadline = deadlineIn(1000, () => promise);
    const reading = (await ask(stream, { deadline })).beginning();
    resolve();
    expect(await reading).toBe('12345');
    expect(state.cancelled).toBe(true);
  });
});

test('an unwanted body is cancelled', async () => {
  const { stream, state } = bodyOf(['12345'], 'stays open');
  await (await ask(stream)).discard();
  expect(state.cancelled).toBe(true);
});
