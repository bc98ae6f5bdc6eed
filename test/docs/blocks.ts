/** The commands of a page: its blocks of `sh`, in order. */
import { readFileSync } from 'node:fs';

/**
 * What the second word after the fence says: `server` starts the registry of the page and goes on; `stopped` wants the registry not to
 * run; `cloudflare` needs an account; `elsewhere` is run by something else, or not here.
 */
export type Kind = 'run' | 'server' | 'stopped' | 'cloudflare' | 'elsewhere';

export interface Block {
  kind: Kind;
  /** Where it is: `docs/tags.md:12`. */
  place: string;
  text: string;
  /** It speaks to a docker engine. */
  usesDocker: boolean;
}

const FENCE = /^```sh(?: (\w+))?\n([\s\S]*?)^```$/gm;
const KINDS: readonly Kind[] = ['run', 'server', 'stopped', 'cloudflare', 'elsewhere'];

/** @throws Error for a word that is not a kind */
export function blocksOf(root: string, page: string): Block[] {
  const all = readFileSync(`${root}/${page}`, 'utf8');
  return [...all.matchAll(FENCE)].map(({ 1: word = 'run', 2: text = '', index }) => {
    const kind = KINDS.find((one) => one === word);
    const place = `${page}:${all.slice(0, index).split('\n').length + 1}`;
    if (!kind) throw new Error(`${place}: "${word}" is none of ${KINDS.join(', ')}`);
    return { kind, place, text, usesDocker: /\bdocker (?:login|pull|push|tag|build)\b/.test(text) };
  });
}

/** An interactive zsh takes a comment as arguments, and a line that begins with one as a command. */
export function hasComment({ text }: Block): boolean {
  return text.split('\n').some((line) => /(?:^|\s)#(?:\s|$)/.test(line));
}
