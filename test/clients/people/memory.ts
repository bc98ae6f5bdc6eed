/**
 * The history of tags: an overwritten tag is rolled back, an immutable tag cannot be changed, a deleted tag is restored, and a
 * webhook announces the deletions of a lifecycle rule.
 */
import { person, type Stage } from './stage.ts';
import { digestIn, refused, same, worked } from './steps.ts';

const REPOSITORY = 'acme/memory';
const PATH = `/repositories/${REPOSITORY}/-`;

interface History {
  items: { point: number; digest: string | null; actor: { subject: string } | null }[];
}

interface Plan {
  items: { tag: string | null }[];
}

export async function memory(stage: Stage): Promise<void> {
  await overwritten(stage);
  await immutable(stage);
  await deleted(stage);
  await tidied(stage);
}

/** Deletes a tag or a manifest with a plain HTTP request, as a script does with curl. */
async function remove({ registry, keys }: Stage, reference: string): Promise<number> {
  const authorization = `Basic ${btoa(`alice:${keys.get('alice')?.secret}`)}`;
  const url = `${registry.url}/v2/${REPOSITORY}/manifests/${reference}`;
  return (await fetch(url, { method: 'DELETE', headers: { authorization } })).status;
}

async function overwritten(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  let [first, second] = ['', ''];
  await step('a tag that docker overwrites has a history: what it named, and who moved it', async () => {
    const desk = engine.desk('alice');
    first = digestIn(await desk.push('one', `${REPOSITORY}:stable`));
    second = digestIn(await desk.push('two', `${REPOSITORY}:stable`));
    const { items } = await person(stage, 'alice').api.call<History>('GET', `${PATH}/tags/stable/history`);
    const told = items.map(({ point, digest, actor }) => `${point} ${digest} ${actor?.subject}`);
    same('history', told.join(', '), `2 ${second} user:alice, 1 ${first} user:alice`);
  });
  await step('it is rolled back, and docker pulls what it named before', async () => {
    await person(stage, 'alice').api.call('POST', `${PATH}/tags/stable/rollback`, { point: 1 });
    await engine.forgetImages();
    same('pulled', digestIn(await engine.desk('alice').pull(`${REPOSITORY}:stable`)), first);
  });
}

async function immutable(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const rule = (imageTagMutability: string, ...filters: string[]) =>
    person(stage, 'alice').api.call('PUT', `${PATH}/tag-mutability`, {
      imageTagMutability,
      ...(filters.length > 0
        ? { imageTagMutabilityExclusionFilters: filters.map((filter) => ({ filterType: 'WILDCARD', filter })) }
        : {}),
    });
  await step('docker cannot overwrite an immutable tag, and is told why; the excluded ones move', async () => {
    const desk = engine.desk('alice');
    await rule('IMMUTABLE_WITH_EXCLUSION', 'dev-*');
    const pushed = digestIn(await desk.push('one', `${REPOSITORY}:1.0`));
    refused(await desk.push('two', `${REPOSITORY}:1.0`), 'immutable', pushed);
    digestIn(await desk.push('one', `${REPOSITORY}:1.0`));
    digestIn(await desk.push('one', `${REPOSITORY}:dev-a`));
    digestIn(await desk.push('two', `${REPOSITORY}:dev-a`));
    same('deletion', await remove(stage, '1.0'), 403);
    await rule('MUTABLE');
  });
}

async function deleted(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  await step('an image that was deleted is gone for docker at once, and back once it is restored', async () => {
    const desk = engine.desk('alice');
    const digest = digestIn(await desk.push('three', `${REPOSITORY}:gone`));
    same('deletion', await remove(stage, digest), 202);
    refused(await desk.pull(`${REPOSITORY}:gone`), 'not found');
    await person(stage, 'alice').api.call('POST', `${PATH}/trash/manifests/${digest}/restore`);
    await engine.forgetImages();
    same('pulled', digestIn(await desk.pull(`${REPOSITORY}:gone`)), digest);
  });
  await step('so is a repository', async () => {
    const { api, desk } = person(stage, 'alice');
    await api.call('DELETE', `/repositories/${REPOSITORY}?force=true`);
    refused(await desk.pull(`${REPOSITORY}:gone`));
    const { items } = await api.call<{ items: { entry: string; name: string }[] }>('GET', '/trash');
    const entry = items.find(({ name }) => name === REPOSITORY)?.entry;
    await api.call('POST', `/trash/${entry}/restore`);
    await engine.forgetImages();
    worked(await desk.pull(`${REPOSITORY}:gone`));
  });
}

async function tidied(stage: Stage): Promise<void> {
  const { step, engine } = stage;
  const policy = {
    rules: [
      {
        rulePriority: 1,
        description: 'the newest image of pull requests',
        selection: { tagStatus: 'tagged', tagPatternList: ['pr-*'], countType: 'imageCountMoreThan', countNumber: 1 },
        action: { type: 'expire' },
      },
    ],
  };
  await step('a rule takes what its preview told, and nothing else; the collector runs meanwhile', async () => {
    const { api, desk } = person(stage, 'alice');
    digestIn(await desk.push('one', `${REPOSITORY}:pr-1`));
    // Times are stored in whole seconds.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    digestIn(await desk.push('two', `${REPOSITORY}:pr-2`));
    await api.call('PUT', `${PATH}/lifecycle`, policy);
    const { items } = await api.call<Plan>('POST', `${PATH}/lifecycle/preview`);
    same('preview', items.map(({ tag }) => tag).join(), 'pr-1');
    await api.call('POST', `${PATH}/lifecycle/run`);
    await stage.admin.call('POST', '/gc');
    refused(await desk.pull(`${REPOSITORY}:pr-1`), 'not found');
    await engine.forgetImages();
    worked(await desk.pull(`${REPOSITORY}:pr-2`));
    worked(await desk.pull(`${REPOSITORY}:stable`));
  });
}
