/** The commands of a page: its blocks of `sh`, in order. */
import { readFileSync } from 'node:fs';

/**
 * The kind of a block, which is the second word after the fence. `run` (no word): the block runs as it is. `server`: the block
 * starts the registry of the page, and the next block runs while the registry does. `stopped`: the registry must not run.
 * `cloudflare`: the block needs an account and is skipped. `elsewhere`: another test runs the block, or none.
 */
export type Kind = 'run' | 'server' | 'stopped' | 'cloudflare' | 'elsewhere';

export interface Block {
  kind: Kind;
  /** The file and line of the block, for example `docs/tags.md:12`. */
  place: string;
  text: string;
  /** True if the block needs a docker engine. */
  usesDocker: boolean;
}

const FENCE = /^```sh(?: (\w+))?\n([\s\S]*?)^```$/gm;
const KINDS: readonly Kind[] = ['run', 'server', 'stopped', 'cloudflare', 'elsewhere'];

/** The blocks of a page. @throws Error if the second word after a fence is not a kind */
export function blocksOf(root: string, page: string): Block[] {
  const all = readFileSync(`${root}/${page}`, 'utf8');
  return [...all.matchAll(FENCE)].map(({ 1: word = 'run', 2: text = '', index }) => {
    const kind = KINDS.find((one) => one === word);
    const place = `${page}:${all.slice(0, index).split('\n').length + 1}`;
    if (!kind) throw new Error(`${place}: "${word}" is none of ${KINDS.join(', ')}`);
    return { kind, place, text, usesDocker: /\bdocker (?:login|pull|push|tag|build)\b/.test(text) };
  });
}

/** True if a block has a comment. An interactive zsh reads a comment as arguments, or as a command at the start of a line. */
export function hasComment({ text }: Block): boolean {
  return text.split('\n').some((line) => /(?:^|\s)#(?:\s|$)/.test(line));
}
