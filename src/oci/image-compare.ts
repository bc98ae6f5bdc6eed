/** Compares two container images: the entries of their configurations, and their layers. This module does no I/O. */
import type { ImageConfig } from './image-config.ts';

/** An entry of a configuration, with its value in each image. `null` if an image does not have the entry. */
export interface ConfigChange {
  kind: string;
  name: string;
  from: string | null;
  to: string | null;
}

/**
 * Compares two configurations. Returns the entries of both, grouped by kind. An entry is equal in both if `from` equals `to`.
 */
export function compareConfigs(from: ImageConfig | null, to: ImageConfig | null): ConfigChange[] {
  const [before, after] = [entriesOf(from), entriesOf(to)];
  const keys = [...new Set([...before.keys(), ...after.keys()])];
  const changes = keys.map((key): ConfigChange => {
    const [kind = '', name = ''] = key.split(SEPARATOR, 2);
    return { kind, name, from: before.get(key) ?? null, to: after.get(key) ?? null };
  });
  return changes.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
}

const SEPARATOR = '\n';
const KINDS = [
  ...['Platform', 'User', 'Working directory', 'Entrypoint', 'Command', 'Shell', 'Stop signal', 'Health check'],
  ...['Ports', 'Volumes', 'Environment', 'Label'],
];

function entriesOf(config: ImageConfig | null): Map<string, string> {
  if (config === null) return new Map();
  const single: [string, string][] = [
    ['Platform', config.platform],
    ['User', config.user],
    ['Working directory', config.workingDirectory],
    ['Entrypoint', wordsText(config.entrypoint)],
    ['Command', wordsText(config.command)],
    ['Shell', wordsText(config.shell)],
    ['Stop signal', config.stopSignal],
    ['Health check', wordsText(config.health)],
    ['Ports', config.ports.toSorted().join(', ')],
    ['Volumes', config.volumes.toSorted().join(', ')],
  ];
  return new Map([
    ...single.filter(([, value]) => value !== ''),
    ...config.environment.map(([name, value]) => [`Environment${SEPARATOR}${oneLine(name)}`, value] as [string, string]),
    ...config.labels.map(([name, value]) => [`Label${SEPARATOR}${oneLine(name)}`, value] as [string, string]),
  ]);
}

function oneLine(name: string): string {
  return name.replaceAll(SEPARATOR, ' ');
}

/** Formats a list of words as a JSON array, as a Dockerfile does. Returns the empty string for an empty list. */
export function wordsText(words: readonly string[]): string {
  return words.length === 0 ? '' : `[${words.map((word) => JSON.stringify(word)).join(', ')}]`;
}

interface Sized {
  digest: string;
  size: number;
}

export interface LayerComparison<Layer extends Sized> {
  /**
   * All layers, in the order of the second image. Layers that only the first image has are listed before the first layer that
   * differs.
   */
  layers: { layer: Layer; in: 'both' | 'from' | 'to' }[];
  /** The number of bytes of the second image. Each blob counts once. */
  bytes: number;
  /** The number of bytes that a client with the first image must pull to get the second image. */
  newBytes: number;
}

/** Compares the layers of two images. @param config the config of each image, which is pulled like a layer */
export function compareLayers<Layer extends Sized>(
  from: { layers: readonly Layer[]; config: Sized | null },
  to: { layers: readonly Layer[]; config: Sized | null },
): LayerComparison<Layer> {
  const had = new Set([...from.layers, ...(from.config ? [from.config] : [])].map(({ digest }) => digest));
  const has = new Set(to.layers.map(({ digest }) => digest));
  const parts = new Map([...to.layers, ...(to.config ? [to.config] : [])].map(({ digest, size }) => [digest, size]));
  const gone = from.layers.filter(({ digest }) => !has.has(digest)).map((layer) => ({ layer, in: 'from' as const }));
  const now = to.layers.map((layer) => ({ layer, in: had.has(layer.digest) ? ('both' as const) : ('to' as const) }));
  const firstNew = now.findIndex((one) => one.in === 'to');
  const at = firstNew < 0 ? now.length : firstNew;
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((total, size) => total + size, 0);
  return {
    layers: [...now.slice(0, at), ...gone, ...now.slice(at)],
    bytes: sum(parts.values()),
    newBytes: sum([...parts].flatMap(([digest, size]) => (had.has(digest) ? [] : [size]))),
  };
}
