/** The cost of the deletions of a lifecycle rule depends on the number of deleted items, not on the size of the repository. */
import { beforeEach, expect, test } from 'vitest';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseRepositoryName } from '../../../src/oci/name.ts';
import { parseTag } from '../../../src/oci/reference.ts';
import { deleteExpired } from '../../../src/registry/manifests/deletion.ts';
import { counting } from '../../world/counting.ts';
import { IMAGE_TYPE } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/many');
const digestOf = (n: number) => parseDigest(`sha256:${String(n).padStart(64, '0')}`);
const deletion = { by: { subject: 'registry' }, reason: 'a rule' };
let world: World;

/** Inserts 3,000 images, each with its own tag and two references. */
const build = builtOnce(async (made) => {
  world = made;
  await api(world, 'PUT', `/repositories/${REPOSITORY}`);
  const here = `(SELECT id FROM repositories WHERE name = '${REPOSITORY}')`;
  const numbers = JSON.stringify(Array.from({ length: 3000 }, (_, n) => n));
  const digest = "'sha256:' || printf('%064d', value)";
  const layers = `json_array(json_object('digest', 'sha256:a' || value), json_object('digest', 'sha256:b'))`;
  for (const insert of [
    `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, content)
     SELECT ${here}, ${digest}, '${IMAGE_TYPE}', '', 10, 0, json_object('layers', ${layers}) FROM json_each(?1)`,
    `INSERT INTO tags (repository_id, name, digest, updated_at) SELECT ${here}, 't' || value, ${digest}, 0 FROM json_each(?1)`,
    `INSERT INTO manifest_references (repository_id, child, parent)
     SELECT ${here}, 'sha256:a' || value, ${digest} FROM json_each(?1)`,
    `INSERT INTO manifest_references (repository_id, child, parent) SELECT ${here}, 'sha256:b', ${digest} FROM json_each(?1)`,
  ]) {
    await world.env.DB.prepare(insert).bind(numbers).run();
  }
});

beforeEach(async () => {
  world = await build();
});

test.each([10, 100])('%i images of 3,000 are two round trips, and rows in proportion', async (count) => {
  const chosen = Array.from({ length: count }, (_, n) => n * 7);
  const { env, counts } = counting(world.env);
  const tags = chosen.map((n) => ({ tag: parseTag(`t${n}`), digest: digestOf(n), reserved: false }));
  const gone = await deleteExpired(env, REPOSITORY, { rule: '', tags, levels: [chosen.map(digestOf)] }, deletion);
  expect([gone.tags.length, gone.manifests.length]).toEqual([count, count]);
  expect(counts.d1).toBe(2);
  expect(counts.rowsRead).toBeLessThanOrEqual(100 * count);
  // For a tag: the row and its index, the event and its index, the history, and the trash with its index. For an image also:
  // its row, the event, the trash, and two references, each deleted from one table and inserted into another.
  expect(counts.rowsWritten).toBeLessThanOrEqual(20 * count);
});
