/** The calls of a history: each request of a client, and its answer. */

export interface Call {
  /** The name of the client, for messages. */
  client: string;
  /** The times of request and answer, on a common clock. `end` is `Infinity` if the outcome is unknown: a 5xx, or no answer. */
  start: number;
  end: number;
  /** True if one of its calls to a store failed on purpose. */
  faulted: boolean;
  repository: string;
  deed: Deed;
  /** The status of the answer. 0 if there was no answer. */
  status: number;
  /** The content of the answer. */
  told: Told;
}

export type Deed =
  | ({ kind: 'put'; tag: string | null; condition: Condition } & Document)
  | { kind: 'roll-back'; tag: string; digest: string; condition: Condition }
  | { kind: 'read'; tag: string | null; digest: string | null }
  | { kind: 'delete-tag'; tag: string }
  | { kind: 'delete-manifest'; digest: string }
  | { kind: 'list' }
  | { kind: 'referrers'; subject: string }
  | { kind: 'push-blob' | 'read-blob' | 'delete-blob'; digest: string }
  | { kind: 'mount'; digest: string; from: string };

export interface Document {
  digest: string;
  /** The digests that the manifest references and requires. */
  parts: string[];
}

/** The condition of a put: the digest that the tag must name, or `absent` if the tag must not exist. */
export type Condition = { match: string } | 'absent' | null;

export interface Told {
  /** The digest of the bytes, or of the header of a HEAD. */
  digest?: string;
  /** The items of the answered list. */
  items?: string[];
  /** The missing digests that the refusal of a put names. */
  missing?: string[];
}

/** Short names of digests, for readable histories. */
export class Names {
  readonly #names = new Map<string, string>();

  add(name: string, digest: string): void {
    this.#names.set(digest, name);
  }

  of(digest: string | null | undefined): string {
    return digest ? (this.#names.get(digest) ?? digest.slice(0, 15)) : 'nothing';
  }
}

/** A text for a call without its times. Calls with equal texts have the same effect. */
export function wordsOf({ deed, status, told, faulted }: Call, names: Names): string {
  const answer = status === 0 ? 'no answer' : `${status}${faulted ? ' (a store failed)' : ''}`;
  const shown = told.items ? ` [${told.items.map((item) => (item.includes(':') ? names.of(item) : item)).join(' ')}]` : '';
  const digest = told.digest ? ` ${names.of(told.digest)}` : '';
  return `${deedInWords(deed, names)} -> ${answer}${digest}${shown}`;
}

function deedInWords(deed: Deed, names: Names): string {
  switch (deed.kind) {
    case 'put':
      return `PUT ${names.of(deed.digest)}${deed.tag === null ? '' : ` as ${deed.tag}`}${inWords(deed.condition, names)}`;
    case 'roll-back':
      return `roll ${deed.tag} back to ${names.of(deed.digest)}${inWords(deed.condition, names)}`;
    case 'read':
      return `read ${deed.tag ?? names.of(deed.digest)}`;
    case 'delete-tag':
      return `DELETE tag ${deed.tag}`;
    case 'list':
      return 'list tags';
    case 'referrers':
      return `referrers of ${names.of(deed.subject)}`;
    case 'mount':
      return `mount ${names.of(deed.digest)} from ${deed.from}`;
    default:
      return `${deed.kind} ${names.of(deed.digest)}`;
  }
}

function inWords(condition: Condition, names: Names): string {
  if (condition === null) return '';
  return condition === 'absent' ? ' if it is not there' : ` if it names ${names.of(condition.match)}`;
}
