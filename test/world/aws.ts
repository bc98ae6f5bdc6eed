/** Signs requests of the ECR API with AWS Signature Version 4, and sends them. Written independently of the code under test. */
import { expect } from 'vitest';
import { counting } from './counting.ts';
import { type World, worldOf } from './world.ts';

interface Signer {
  /** The id of the access key. */
  id: string;
  secret: string;
}

export interface Changes {
  region?: string;
  service?: string;
  /** The time in `X-Amz-Date`, in milliseconds since the epoch. If absent, the present time. */
  at?: number;
  /** Headers to sign in addition to those that botocore signs. */
  headers?: Record<string, string>;
  /** Changes headers and body after they were signed. */
  tamper?: (request: { headers: Record<string, string>; body: string; path: string }) => void;
}

export interface EcrAnswer<T = Record<string, unknown>> {
  status: number;
  /** The type of the error without the ending `Exception`. `null` if the request succeeded. */
  error: string | null;
  message: string;
  body: T;
  headers: Headers;
}

const encoder = new TextEncoder();

/** Calls an ECR operation as botocore does. */
export async function ecr<T = Record<string, unknown>>(
  world: World,
  signer: Signer,
  operation: string,
  input: unknown = {},
  changes: Changes = {},
): Promise<EcrAnswer<T>> {
  await claim(world);
  const body = typeof input === 'string' ? input : JSON.stringify(input);
  const headers = await signedHeaders(signer, operation, body, changes);
  const request = { headers, body, path: '/' };
  changes.tamper?.(request);
  const { authorization = null, ...others } = request.headers;
  const response = await world.fetch('POST', request.path, { headers: others, body: request.body, authorization });
  const text = await response.text();
  const answer = JSON.parse(text) as T & { __type?: string; message?: string };
  return {
    status: response.status,
    error: answer.__type?.replace(/Exception$/, '') ?? null,
    message: answer.message ?? '',
    body: answer,
    headers: response.headers,
  };
}

/**
 * Makes a registry the owner of the test's database, because the registry's number is derived from the owner. A new test world
 * has none.
 */
async function claim({ env }: World): Promise<void> {
  const id = '6f6b1f2e-8a51-4c53-9d4e-3f1d2c7b5a90';
  await env.DB.prepare(`INSERT INTO registry VALUES (1, ?1, 'mark', 0) ON CONFLICT DO NOTHING`).bind(id).run();
}

/**
 * Expects that each operation tells a caller without the right to pull the same about a repository that exists as about one that
 * does not, with as many calls of D1.
 * @param call runs an operation as this caller, in the given world
 * @param inputs an input of each operation, without the repository
 */
export async function expectHidden(
  world: World,
  call: (operation: string, input: object, on: World) => Promise<Pick<EcrAnswer, 'error' | 'message'>>,
  inputs: Record<string, object>,
  { hidden, absent }: { hidden: string; absent: string },
): Promise<void> {
  const { env, counts } = counting(world.env);
  const cost = async (operation: string, repositoryName: string) => {
    counts.d1 = 0;
    const { error, message } = await call(operation, { ...inputs[operation], repositoryName }, worldOf(env));
    return { error, message: message.replace(repositoryName, 'NAME'), d1: counts.d1 };
  };
  const [first = ''] = Object.keys(inputs);
  await cost(first, hidden);
  for (const operation of Object.keys(inputs)) {
    const told = await cost(operation, hidden);
    expect(told, operation).toMatchObject({
      error: 'RepositoryNotFound',
      message: expect.stringMatching(/^The repository with/),
    });
    expect(await cost(operation, absent), operation).toEqual(told);
  }
}

async function signedHeaders(
  { id, secret }: Signer,
  operation: string,
  body: string,
  { region = 'eu-central-1', service = 'ecr', at = Date.now(), headers: more = {} }: Changes,
): Promise<Record<string, string>> {
  const time = new Date(at).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const day = time.slice(0, 8);
  const headers: Record<string, string> = {
    'content-type': 'application/x-amz-json-1.1',
    host: 'registry.test',
    'x-amz-date': time,
    'x-amz-target': `AmazonEC2ContainerRegistry_V20150921.${operation}`,
    ...more,
  };
  const names = Object.keys(headers).sort();
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join('');
  const canonical = ['POST', '/', '', lines, names.join(';'), await sha256(body)].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', time, scope, await sha256(canonical)].join('\n');
  let key: Uint8Array<ArrayBuffer> = encoder.encode(`AWS4${secret}`) as Uint8Array<ArrayBuffer>;
  for (const part of [day, region, service, 'aws4_request', text]) key = await hmac(key, part);
  const signature = hex(key);
  const authorization = `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return { ...headers, authorization };
}

async function sha256(text: string): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', encoder.encode(text))));
}

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, encoder.encode(text)));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
