/**
 * The ECR API: `POST /` in the protocol AWS JSON 1.1. A header names the operation, the body is its input, and the request is
 * signed with an access key. `operations.ts` has the table of operations.
 */
import type { Context, Next } from 'hono';
import { loadCaller } from '../../app/authentication.ts';
import {
  credentialOfSignature,
  problemOfSigner,
  registryNumber,
  type SignatureProblem,
  type SignedRequest,
} from '../../app/ecr.ts';
import { withMemory } from '../../app/layers.ts';
import { arnOf } from '../../contract/aws-policy.ts';
import { parseStrictJson } from '../../oci/json.ts';
import { isRepositoryName } from '../../oci/name.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { arrivalOf } from '../authenticate.ts';
import { type AppEnv, callOf, isEcr, type RequestContext } from '../context.ts';
import { asRefusal } from '../errors.ts';
import { limitExpensiveReads, limitWrites } from '../limits.ts';
import { contentLength, readBody } from '../params.ts';
import { takeBase64 } from './blob-member.ts';
import { EcrError, ecrErrorOf, type Names, statusOf } from './errors.ts';
import type { EcrCall, EcrOperation } from './operation.ts';
import { OPERATIONS } from './operations.ts';
import { checkedInput } from './validation.ts';

const TARGET_PREFIX = 'AmazonEC2ContainerRegistry_V20150921.';

/** The maximum number of bytes of a body, unless the operation has a limit of its own. */
const BODY_MAX_BYTES = 512 * 1024;

/** What is known about a request at the time when it is refused. */
type Progress = Partial<Names>;

/** Answers a request of the ECR API. Any other POST request is refused by the next handler of this path. */
export async function answerEcr(c: Context<AppEnv>, next: Next): Promise<Response | undefined> {
  if (!isEcr(c)) {
    await next();
    return;
  }
  const progress: Progress = {};
  try {
    const output = await run(c, progress);
    return send(c, 200, output);
  } catch (error) {
    if (error instanceof EcrError) return sendError(c, error);
    const refusal = asRefusal(error, c.var.requestId);
    c.set('reason', refusal.reason);
    return refuseEcr(c, refusal, progress);
  }
}

/** Answers with a refusal, even if the operation is not known yet. */
export function refuseEcr(c: Context<AppEnv>, refusal: Refusal, progress: Progress = {}): Response {
  const names = { registryId: '', operation: '', caller: '', ...progress };
  return sendError(c, ecrErrorOf(refusal, names));
}

async function run(c: Context<AppEnv>, progress: Progress): Promise<object> {
  const [name, operation] = operationIn(c);
  progress.operation = name;
  const max = operation.bodyMax ?? BODY_MAX_BYTES;
  if (operation.blob === undefined) return answerTo(c, progress, operation, await readBody(c, max));
  await requireKey(c);
  // A body of unknown length is in memory twice while it is read.
  const bytes = Math.min(contentLength(c) ?? 2 * max, 2 * max);
  return withMemory(bytes, async () => answerTo(c, progress, operation, await readBody(c, max)));
}

async function answerTo(c: Context<AppEnv>, progress: Progress, operation: EcrOperation, body: Uint8Array): Promise<object> {
  const { credential, region } = await signerOf(c, body);
  const { input, bytes } = inputIn(operation, body);
  const named = repositoriesIn(input);
  progress.repository = named[0];
  const arrival = arrivalOf(c);
  const number = await registryNumber(c.env);
  progress.registryId = registryIdIn(input) ?? number;
  const authority = await loadCaller(arrival, credential, { repositories: named });
  progress.caller = arnOf(authority.subject, number);
  c.set('authority', authority);
  await limit(c, operation);
  if (progress.registryId !== number) throw foreignRegistry(progress);
  const caller = { subject: authority.subject, credential, grants: null };
  const call: EcrCall = { ...callOf(c), caller, uploading: null, assumed: null, registryId: number, region, bytes };
  return withTypes(operation, progress, () => operation.answer(call, input));
}

/** @throws UnknownOperationException */
function operationIn(c: RequestContext): [name: string, operation: EcrOperation] {
  const target = c.req.header('x-amz-target') ?? '';
  const name = target.startsWith(TARGET_PREFIX) ? target.slice(TARGET_PREFIX.length) : '';
  const operation = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
  if (operation) return [name, operation];
  throw new EcrError('UnknownOperation', 'the header X-Amz-Target names no operation of this API');
}

/** The parts of a request that its signature covers. @throws IncompleteSignatureException for a second credential */
function signedRequest(c: RequestContext, body: Uint8Array): SignedRequest {
  if (c.req.header('cookie') !== undefined)
    throw new EcrError('IncompleteSignature', 'a signed request must have no cookie: nothing was done');
  if (new URL(c.req.url).search !== '')
    throw new EcrError('IncompleteSignature', 'the signature must be in the Authorization header, and not in the query');
  const headers = new Map(Object.entries(c.req.header()));
  if (headers.has('x-amz-security-token')) throw problemError({ problem: 'unknown-key' });
  return { method: c.req.method, headers, body };
}

/** Verifies the signature. A second credential in the request is refused, because it would be unclear who the caller is. */
async function signerOf(c: RequestContext, body: Uint8Array) {
  const found = await credentialOfSignature(arrivalOf(c), signedRequest(c, body));
  if ('problem' in found) throw problemError(found);
  return found;
}

/** Refuses a large request that names no valid key, before its body is read. */
async function requireKey(c: RequestContext): Promise<void> {
  const problem = await problemOfSigner(arrivalOf(c), signedRequest(c, new Uint8Array()));
  if (problem) throw problemError(problem);
}

function problemError(found: SignatureProblem): EcrError {
  switch (found.problem) {
    case 'missing':
      return new EcrError('MissingAuthenticationToken', 'Missing Authentication Token');
    case 'incomplete':
      return new EcrError('IncompleteSignature', found.message);
    case 'unknown-key':
      return new EcrError('UnrecognizedClient', 'The security token included in the request is invalid.');
    case 'invalid':
      return new EcrError('InvalidSignature', found.message);
  }
}

/** @throws SerializationException, InvalidParameterException */
function inputIn(operation: EcrOperation, body: Uint8Array): { input: unknown; bytes: Uint8Array } {
  const { blob, input } = operation;
  try {
    const { rest, bytes } = blob === undefined ? { rest: body, bytes: new Uint8Array() } : takeBase64(body, blob);
    const value: unknown = rest.byteLength === 0 ? {} : parseStrictJson(rest).value;
    return { input: checkedInput(input, withoutNulls(value)), bytes };
  } catch (error) {
    if (error instanceof EcrError) throw error;
    throw new EcrError('Serialization', `the body is not valid JSON: ${(error as Error).message}`);
  }
}

/** Returns the value without members that are null. AWS treats them as absent. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) => (member === null ? [] : [[name, withoutNulls(member)]])),
  );
}

/** Returns the repositories in an input, so that their policies are read together with the caller's rights. */
function repositoriesIn(input: unknown): string[] {
  const { repositoryName, repositoryNames, resourceArn } = input as Record<string, unknown>;
  const inArn = typeof resourceArn === 'string' ? [resourceArn.replace(/^.*:repository\//, '')] : [];
  const names = [repositoryName, ...(Array.isArray(repositoryNames) ? repositoryNames : []), ...inArn];
  return names.filter((name): name is string => typeof name === 'string' && isRepositoryName(name));
}

function registryIdIn(input: unknown): string | null {
  const { registryId } = input as Record<string, unknown>;
  return typeof registryId === 'string' ? registryId : null;
}

/** Returns the error for an input with the id of another registry, which has no repository here. */
function foreignRegistry({ repository, registryId }: Progress): Error {
  if (repository !== undefined) return new Refusal('repository-unknown');
  return new EcrError('InvalidParameter', `this registry does not have the id '${registryId}'`);
}

async function limit(c: RequestContext, { cost }: EcrOperation): Promise<void> {
  if (cost === 'write') await limitWrites(c);
  if (cost === 'list') await limitExpensiveReads(c);
}

/** Runs an operation. A refusal gets the error type that the operation's row defines for its reason. */
async function withTypes(operation: EcrOperation, progress: Progress, work: () => Promise<object> | object): Promise<object> {
  try {
    return await work();
  } catch (error) {
    const type = isRefusal(error) ? operation.types?.[error.reason] : undefined;
    if (type === undefined || !isRefusal(error)) throw error;
    const { message } = ecrErrorOf(error, { registryId: '', operation: '', caller: '', ...progress });
    throw new EcrError(type, message);
  }
}

function sendError(c: Context<AppEnv>, error: EcrError): Response {
  return send(c, statusOf(error), { __type: error.type, message: error.message, ...error.fields });
}

function send(c: Context<AppEnv>, status: 200 | 400 | 500, value: object): Response {
  const body = new TextEncoder().encode(JSON.stringify(value));
  return new Response(body, {
    status,
    headers: {
      'content-type': 'application/x-amz-json-1.1',
      'content-length': String(body.byteLength),
      'cache-control': 'no-store',
      date: new Date().toUTCString(),
      'x-amzn-requestid': c.var.requestId,
    },
  });
}
