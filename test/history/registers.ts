/**
 * The registers of a history: a tag names a manifest or nothing, and a manifest or a blob of a repository exists or not.
 * Translates each call into its effect on each register.
 */
import { type Call, type Condition, type Names, wordsOf } from './calls.ts';
import type { Step } from './linearizable.ts';

/** The state of a manifest, blob or tag that does not exist. */
export const ABSENT = '';
const PRESENT = 'there';

type Effect = Pick<Step, 'observes' | 'apply'>;

const sees = (holds: (state: string) => boolean): Effect => ({
  observes: true,
  apply: (state) => (holds(state) ? state : undefined),
});
/** The effect of a step. @param next returns the state after the step, or `undefined` if the step is not possible */
const does = (next: (state: string) => string | undefined): Effect => ({ observes: false, apply: next });
const isPresent = (present: boolean) => sees((state) => (state === PRESENT) === present);

export interface Tag {
  repository: string;
  name: string;
  immutable: boolean;
}

export function stepsOf(calls: Call[], names: Names, effectOf: (call: Call) => Effect | null): Step[] {
  return calls.flatMap((call) => {
    const effect = effectOf(call);
    if (!effect || (effect.observes && !isAnswered(call))) return [];
    return [{ what: wordsOf(call, names), start: call.start, end: call.end, ...effect }];
  });
}

function isAnswered({ end }: Call): boolean {
  return end !== Number.POSITIVE_INFINITY;
}

/** The effect of a call on a tag of its repository, by the digests that it named. */
export function onTag(call: Call, { name, immutable }: Tag): Effect | null {
  const { deed, status, told } = call;
  switch (deed.kind) {
    case 'put':
    case 'roll-back':
      return deed.tag === name ? setting(call, deed.digest, deed.condition, immutable) : null;
    case 'read':
      if (deed.tag !== name) return null;
      return status === 200
        ? sees((state) => state === told.digest)
        : status === 404
          ? sees((state) => state === ABSENT)
          : null;
    case 'list':
      return status === 200 ? sees((state) => (state !== ABSENT) === told.items?.includes(name)) : null;
    case 'delete-tag':
      return deed.tag === name ? taking(call, (state) => state !== ABSENT, immutable) : null;
    case 'delete-manifest':
      return takingByDigest(call, deed.digest, immutable);
    default:
      return null;
  }
}

/** The effect of a put on a tag. @param condition the digest that the tag had to name before */
function setting(call: Call, digest: string, condition: Condition, immutable: boolean): Effect | null {
  const meets = (state: string) =>
    condition === null || (condition === 'absent' ? state === ABSENT : state === condition.match);
  const isFree = (state: string) => !immutable || state === ABSENT || state === digest;
  // If the first answer of the database was lost, the registry may find that its put is done already (RFC 9110, 13.1.1).
  const isDone = (state: string) => call.faulted && state === digest;
  const allowed = (state: string) => (meets(state) || isDone(state)) && isFree(state);
  if (!isAnswered(call)) return does((state) => (allowed(state) ? digest : state));
  if (call.status === 201 || call.status === 200) return does((state) => (allowed(state) ? digest : undefined));
  if (call.status === 412) return sees((state) => !meets(state));
  return call.status === 403 ? sees((state) => !isFree(state)) : null;
}

function taking(call: Call, holds: (state: string) => boolean, immutable: boolean): Effect | null {
  if (!isAnswered(call)) return does((state) => (holds(state) && !immutable ? ABSENT : state));
  if (call.status === 202) return does((state) => (holds(state) && !immutable ? ABSENT : undefined));
  if (call.status === 404) return sees((state) => !holds(state));
  return call.status === 403 ? sees(() => immutable) : null;
}

/** A manifest is deleted with the tags that name it, or not at all. */
function takingByDigest(call: Call, digest: string, immutable: boolean): Effect | null {
  const take = (state: string) => (state === digest ? ABSENT : state);
  if (!isAnswered(call)) return does((state) => (immutable ? state : take(state)));
  if (call.status === 202) return does((state) => (immutable && state === digest ? undefined : take(state)));
  return call.status === 404 ? sees((state) => state !== digest) : null;
}

/** The effect of a call on a manifest of its repository. @param subject the subject of the manifest, if it has one */
export function onManifest(call: Call, digest: string, subject: string | null): Effect | null {
  const { deed, status, told } = call;
  switch (deed.kind) {
    case 'put':
      if (deed.digest === digest) return made(call, 201);
      return asPart(call, deed.parts, digest);
    case 'roll-back':
      if (deed.digest !== digest) return null;
      return status === 200 ? isPresent(true) : status === 409 ? isPresent(false) : null;
    case 'read':
      if (status === 200) return told.digest === digest ? isPresent(true) : null;
      return status === 404 && deed.digest === digest ? isPresent(false) : null;
    case 'referrers':
      return status === 200 && deed.subject === subject ? isPresent(told.items?.includes(digest) === true) : null;
    case 'delete-manifest':
      return deed.digest === digest ? taken(call) : null;
    default:
      return null;
  }
}

/** The effect of a call on a blob of `repository`. */
export function onBlob(call: Call, repository: string, digest: string): Effect | null {
  const { deed, status } = call;
  if (call.repository !== repository) {
    const source = deed.kind === 'mount' && deed.from === repository && deed.digest === digest;
    return source && status !== 0 && status < 300 ? isPresent(status === 201) : null;
  }
  if (deed.kind === 'put') return asPart(call, deed.parts, digest);
  if (!('digest' in deed) || deed.digest !== digest) return null;
  switch (deed.kind) {
    case 'push-blob':
    case 'mount':
      return made(call, 201);
    case 'read-blob':
      return status === 200 ? isPresent(true) : status === 404 ? isPresent(false) : null;
    case 'delete-blob':
      return taken(call);
    default:
      return null;
  }
}

function made(call: Call, success: number): Effect | null {
  return call.status === success || !isAnswered(call) ? does(() => PRESENT) : null;
}

/** The effect of a deletion. The status 405 means that other content still needs this content. */
function taken(call: Call): Effect | null {
  if (!isAnswered(call)) return does(() => ABSENT);
  if (call.status === 202) return does((state) => (state === PRESENT ? ABSENT : undefined));
  return call.status === 404 ? isPresent(false) : call.status === 405 ? isPresent(true) : null;
}

/** A manifest is accepted only if everything it references exists, and refused only if something does not. */
function asPart({ status, told }: Call, parts: string[], digest: string): Effect | null {
  if (!parts.includes(digest)) return null;
  return status === 201 ? isPresent(true) : told.missing?.includes(digest) ? isPresent(false) : null;
}
