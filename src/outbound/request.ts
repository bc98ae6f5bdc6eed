/**
 * Sends requests to other hosts, with limits on time and size. Redirects are not followed, because a redirect could lead to any
 * address: the caller gets the redirect itself as the response. The caller must check the address before (`address.ts`).
 */

type Init = NonNullable<Parameters<typeof fetch>[1]>;

/** The network and the timer. The Worker's entry points pass them as arguments, so that tests can replace them. */
export interface Network {
  fetch: (url: string, init: Init) => Promise<Response>;
  /** @param cancel a signal that stops the timer; the promise then rejects or stays pending */
  sleep: (milliseconds: number, cancel?: AbortSignal) => Promise<void>;
}

export const INTERNET = {
  fetch: (...request: Parameters<typeof fetch>) => fetch(...request),
  sleep: (milliseconds: number, cancel?: AbortSignal) => scheduler.wait(milliseconds, cancel ? { signal: cancel } : {}),
} satisfies Network;

export interface RequestLimits {
  /** A signal that ends the connection and the reading of the response body. Several requests may share one signal. */
  deadline: AbortSignal;
  /** The maximum number of bytes of the response body that are read. */
  maxBytes: number;
}

/** A response whose body has not been read yet. The caller must call `text`, `beginning` or `discard`. */
interface Answer {
  status: number;
  headers: Headers;
  /** Returns the whole body, or `null` if it exceeds the size limit. @throws if the connection breaks or the deadline passes */
  text(): Promise<string | null>;
  /** Returns the beginning of the body: up to the size limit, or the part that arrives before the deadline. Never throws. */
  beginning(): Promise<string>;
  discard(): Promise<void>;
}

/**
 * Returns a signal that aborts after the given time.
 * @param sleep the timer; `undefined` means the runtime's own timer
 * @param done a signal that stops the given timer, so that the timer does not outlive the request
 */
export function deadlineIn(milliseconds: number, sleep?: Network['sleep'], done?: AbortSignal): AbortSignal {
  if (!sleep) return AbortSignal.timeout(milliseconds);
  const controller = new AbortController();
  sleep(milliseconds, done).then(
    () => controller.abort(),
    () => undefined,
  );
  return controller.signal;
}

/** Sends a request. @throws if the connection fails, or if no response arrives before the deadline */
export async function request(fetch: Network['fetch'], url: string, init: Init, limits: RequestLimits): Promise<Answer> {
  const response = await fetch(url, { ...init, redirect: 'manual', signal: limits.deadline });
  const { status, headers, body } = response;
  return {
    status,
    headers,
    text: () => wholeOf(body, limits),
    beginning: () => beginningOf(body, limits),
    discard: async () => body?.cancel(),
  };
}

async function wholeOf(body: ReadableStream<Uint8Array> | null, { deadline, maxBytes }: RequestLimits): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  for await (const chunk of chunksOf(body, deadline)) {
    size += chunk.byteLength;
    if (size > maxBytes) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  deadline.throwIfAborted();
  return text + decoder.decode();
}

async function beginningOf(body: ReadableStream<Uint8Array> | null, { deadline, maxBytes }: RequestLimits): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  try {
    for await (const chunk of chunksOf(body, deadline)) {
      text += decoder.decode(chunk.subarray(0, maxBytes - size), { stream: true });
      size += chunk.byteLength;
      if (size >= maxBytes) break;
    }
  } catch {
    // After an error, the part that was read before is returned.
  }
  return text;
}

/** Yields the chunks of a body. The body is cancelled at the deadline or when the caller stops reading. */
async function* chunksOf(body: ReadableStream<Uint8Array> | null, deadline: AbortSignal): AsyncGenerator<Uint8Array> {
  if (!body) return;
  const reader = body.getReader();
  const stop = () => void reader.cancel().catch(() => undefined);
  deadline.addEventListener('abort', stop);
  if (deadline.aborted) stop();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    deadline.removeEventListener('abort', stop);
    stop();
  }
}
