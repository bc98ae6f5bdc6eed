/** The pulls and pushes that are measured, and the preparation of each. */
import { type Blob, type Image, imageOf, newConfig, newLayer } from '../content.ts';
import { type Account, type ClientName, pull, push } from './clients.ts';
import { Lane } from './lane.ts';

export const CASES = [
  'pull, public',
  'pull, logged in',
  'push, new',
  'push, all there',
  'push, 9 layers there',
  'push, 9 layers mounted',
] as const;
export type CaseName = (typeof CASES)[number];

const REPOSITORY = 'bench/app';
const SOURCE = 'bench/base';
const TAG = 'latest';
const LAYERS = 10;

/** Prepares a case. @returns the function to measure, which gets a new lane */
export async function prepareCase(
  name: CaseName,
  client: ClientName,
  account: Account,
): Promise<(lane: Lane) => Promise<void>> {
  const nothing = { known: new Set<string>(), elsewhere: null };
  const layers = Array.from({ length: LAYERS }, newLayer);
  const [own = newLayer(), ...shared] = layers;
  const image = imageOf([own, ...shared], newConfig());
  const before = async (repository: string, pushed: Image) =>
    push('docker 29', account, { repository, tag: TAG, image: pushed, ...nothing }, new Lane(account.url));
  const pushed = (more: object) => (lane: Lane) =>
    push(client, account, { repository: REPOSITORY, tag: TAG, image, ...nothing, ...more }, lane);
  switch (name) {
    case 'pull, public':
      await before(REPOSITORY, image);
      return (lane) => pull(client, { ...account, credentials: null }, REPOSITORY, TAG, lane);
    case 'pull, logged in':
      await before(REPOSITORY, image);
      return (lane) => pull(client, account, REPOSITORY, TAG, lane);
    case 'push, new':
      return pushed({});
    case 'push, all there':
      await before(REPOSITORY, image);
      return pushed({ known: digests(image.blobs) });
    case 'push, 9 layers there':
      await before(REPOSITORY, imageOf(shared, newConfig()));
      return pushed({ known: digests(shared) });
    case 'push, 9 layers mounted':
      await before(SOURCE, imageOf(shared, newConfig()));
      return pushed({ elsewhere: { repository: SOURCE, digests: digests(shared) } });
  }
}

function digests(blobs: Blob[]): Set<string> {
  return new Set(blobs.map(({ digest }) => digest));
}
