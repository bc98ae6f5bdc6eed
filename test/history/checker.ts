/** Checks a history. Each complaint is about one tag, manifest or blob and lists the few calls that contradict each other. */
import type { Call } from './calls.ts';
import type { Contents } from './contents.ts';
import { contradiction, type Step } from './linearizable.ts';
import { ABSENT, onBlob, onManifest, onTag, stepsOf, type Tag } from './registers.ts';

export interface Complaint {
  /** The tag, manifest or blob, for example `tag acme/api:v1` or `manifest A in acme/api`. */
  about: string;
  why: string;
}

export function checkHistory(history: Call[], tags: Tag[], repositories: readonly string[], contents: Contents): Complaint[] {
  return [
    ...tags.flatMap((tag) => checkTag(history, tag, contents)),
    ...repositories.flatMap((repository) => checkContent(history, repository, contents)),
    ...history.flatMap((call) => checkAnswer(call, tags)),
  ];
}

function checkTag(history: Call[], tag: Tag, { names }: Contents): Complaint[] {
  const about = `tag ${tag.repository}:${tag.name}`;
  const calls = history.filter(({ repository }) => repository === tag.repository);
  const steps = stepsOf(calls, names, (call) => onTag(call, tag));
  const values = tag.immutable ? new Set(calls.flatMap((call) => valuesOf(call, tag.name))) : new Set<string>();
  return [
    ...inOrder(about, steps, calls),
    ...(values.size > 1
      ? [{ about, why: `is immutable, and has named ${[...values].map((one) => names.of(one)).join(', ')}` }]
      : []),
  ];
}

/** The digest that this call read from the tag or was acknowledged to write to it. */
function valuesOf({ deed, status, told }: Call, tag: string): string[] {
  if (!('tag' in deed) || deed.tag !== tag || status < 200 || status > 201) return [];
  if (deed.kind === 'read') return told.digest ? [told.digest] : [];
  return deed.kind === 'delete-tag' ? [] : [deed.digest];
}

function checkContent(history: Call[], repository: string, { manifests, blobs, names }: Contents): Complaint[] {
  const calls = history.filter((call) => call.repository === repository);
  return [
    ...manifests.flatMap(({ digest, subject }) => {
      const steps = stepsOf(calls, names, (call) => onManifest(call, digest, subject));
      return inOrder(`manifest ${names.of(digest)} of ${repository}`, steps, calls);
    }),
    ...blobs.flatMap(({ digest }) => {
      const steps = stepsOf(history, names, (call) => onBlob(call, repository, digest));
      return inOrder(`blob ${names.of(digest)} of ${repository}`, steps, history);
    }),
  ];
}

function inOrder(about: string, steps: Step[], calls: Call[]): Complaint[] {
  const found = contradiction(ABSENT, steps);
  if (!found) return [];
  const lines = found.map(({ start, end, what }) => {
    const client = calls.find((call) => call.start === start)?.client;
    return `  ${client}, ${start} to ${Number.isFinite(end) ? end : 'nobody knows when'}: ${what}`;
  });
  return [{ about, why: `no order of these explains all answers:\n${lines.join('\n')}` }];
}

/** The allowed statuses for each kind of request. Any other status is a complaint. */
const ANSWERS: Record<Call['deed']['kind'], number[]> = {
  put: [201, 400, 403, 412],
  'roll-back': [200, 403, 404, 409, 412],
  read: [200, 404],
  'delete-tag': [202, 403, 404],
  'delete-manifest': [202, 403, 404, 405],
  list: [200],
  referrers: [200],
  'push-blob': [201],
  'read-blob': [200, 404],
  'delete-blob': [202, 404, 405],
  mount: [201, 202],
};

function checkAnswer(call: Call, tags: Tag[]): Complaint[] {
  const { deed, status, told, repository, faulted, start } = call;
  const about = `${deed.kind} in ${repository} at ${start}`;
  const complaints: Complaint[] = [];
  const changedMeanwhile = status === 503;
  if (status > 0 && !ANSWERS[deed.kind].includes(status) && !changedMeanwhile) {
    complaints.push({ about, why: `was answered ${status}${faulted ? ' as a store failed' : ''}` });
  }
  const immutable =
    'tag' in deed && tags.some((tag) => tag.repository === repository && tag.name === deed.tag && tag.immutable);
  if (status === 403 && !immutable && deed.kind !== 'delete-manifest')
    complaints.push({ about, why: 'was denied without a reason' });
  if (status === 412 && 'condition' in deed && deed.condition === null)
    complaints.push({ about, why: '412 without a condition' });
  if (status === 400 && !told.missing?.length)
    complaints.push({ about, why: 'was answered 400, and not that something is missing' });
  if (deed.kind.startsWith('read') && 'digest' in deed && deed.digest && told.digest && told.digest !== deed.digest) {
    complaints.push({ about, why: `got other bytes: ${told.digest} for ${deed.digest}` });
  }
  const unknown = deed.kind === 'list' ? (told.items ?? []).filter((item) => !tags.some(({ name }) => name === item)) : [];
  return [...complaints, ...unknown.map((item) => ({ about, why: `lists ${item}, which nobody has made` }))];
}
