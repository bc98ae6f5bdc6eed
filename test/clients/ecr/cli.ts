/** The walk with the command-line programs of AWS, command for command, and with docker. */
import { digestIn, refused, same, worked } from '../people/steps.ts';
import { type AwsStage, personOf } from './stage.ts';

const REPOSITORY = 'alice/shop';

/** The output of a command, which is JSON. */
async function json<T>(ran: Promise<Parameters<typeof worked>[0]>): Promise<T> {
  return JSON.parse(worked(await ran).stdout) as T;
}

export async function logins(stage: AwsStage): Promise<void> {
  const { step } = stage;
  const alice = personOf(stage, 'alice');
  await step('aws ecr get-login, piped into a shell, logs docker in (version 1)', async () => {
    const login = await alice.shell('aws1 ecr get-login --no-include-email');
    if (!worked(login).stdout.startsWith('docker login -u AWS -p ')) throw new Error(`it printed ${login.stdout}`);
    worked(await alice.shell('aws1 ecr get-login --no-include-email | sh'));
  });
  await step('aws ecr get-login-password logs docker in, with both versions', async () => {
    for (const aws of ['aws1', 'aws2'])
      worked(await alice.shell(`${aws} ecr get-login-password | docker login --username AWS --password-stdin $REGISTRY`));
  });
  await step('the login expires after 12 hours, and names the registry', async () => {
    interface Token {
      authorizationData: { expiresAt: string; proxyEndpoint: string }[];
    }
    const { authorizationData } = await json<Token>(alice.shell('aws2 ecr get-authorization-token'));
    const [{ expiresAt, proxyEndpoint } = { expiresAt: '', proxyEndpoint: '' }] = authorizationData;
    same('proxyEndpoint', proxyEndpoint, stage.registry.url);
    const hours = (Date.parse(expiresAt) - Date.now()) / 3_600_000;
    if (hours < 11.9 || hours > 12) throw new Error(`it expires in ${hours} hours`);
  });
  await step('a wrong secret is refused by the program with the words of AWS', async () => {
    const ran = await alice.shell('AWS_SECRET_ACCESS_KEY=wrong aws2 ecr describe-repositories');
    refused(ran, 'InvalidSignatureException', 'Check your AWS Secret Access Key');
  });
}

interface Described {
  repository: { repositoryUri: string; repositoryArn: string };
}

export async function repositories(stage: AwsStage): Promise<void> {
  const { step, registry } = stage;
  const alice = personOf(stage, 'alice');
  await step('aws ecr create-repository creates a repository with labels', async () => {
    const command = `aws2 ecr create-repository --repository-name ${REPOSITORY} --tags Key=team,Value=shop`;
    const { repository } = await json<Described>(alice.shell(command));
    same('repositoryUri', repository.repositoryUri, `${registry.host}/${REPOSITORY}`);
    const listed = await alice.shell(`aws2 ecr list-tags-for-resource --resource-arn ${repository.repositoryArn}`);
    same('labels', JSON.stringify(JSON.parse(worked(listed).stdout).tags), '[{"Key":"team","Value":"shop"}]');
  });
  await step('creating it again is refused', async () => {
    refused(
      await alice.shell(`aws2 ecr create-repository --repository-name ${REPOSITORY}`),
      'RepositoryAlreadyExistsException',
    );
  });
  await step('aws ecr describe-repositories pages through all repositories, with both versions', async () => {
    for (const name of ['alice/one', 'alice/two'])
      worked(await alice.shell(`aws1 ecr create-repository --repository-name ${name}`));
    for (const aws of ['aws1', 'aws2']) {
      const ran = await alice.shell(`${aws} ecr describe-repositories --page-size 1 --query 'repositories[].repositoryName'`);
      same('names', JSON.parse(worked(ran).stdout).join(), 'alice/one,alice/shop,alice/two');
    }
  });
}

interface ImageDetails {
  imageDetails: { imageDigest: string; imageTags?: string[]; imageSizeInBytes: number }[];
}

export async function images(stage: AwsStage): Promise<void> {
  const { step } = stage;
  const alice = personOf(stage, 'alice');
  const bob = personOf(stage, 'bob');
  await step('an image is tagged, pushed, described and pulled', async () => {
    const digest = digestIn(await alice.desk.push('one', `${REPOSITORY}:v1`));
    const { imageDetails } = await json<ImageDetails>(alice.shell(`aws2 ecr describe-images --repository-name ${REPOSITORY}`));
    same('digest', imageDetails[0]?.imageDigest, digest);
    same('tags', imageDetails[0]?.imageTags?.join(), 'v1');
    if (!imageDetails[0]?.imageSizeInBytes) throw new Error('it has no size');
    await stage.engine.forgetImages();
    same('pulled', digestIn(await alice.desk.pull(`${REPOSITORY}:v1`)), digest);
  });
  await step('aws ecr list-images lists the tag, with both versions', async () => {
    for (const aws of ['aws1', 'aws2']) {
      const ran = await alice.shell(`${aws} ecr list-images --repository-name ${REPOSITORY} --query 'imageIds[].imageTag'`);
      same('tags', JSON.parse(worked(ran).stdout).join(), 'v1');
    }
  });
  await step('to somebody else the repository looks like one that does not exist', async () => {
    const [hidden, absent] = [
      refused(await bob.shell(`aws2 ecr describe-images --repository-name ${REPOSITORY}`), 'RepositoryNotFoundException'),
      refused(await bob.shell('aws2 ecr describe-images --repository-name alice/nil'), 'RepositoryNotFoundException'),
    ];
    same('message', hidden.replace(REPOSITORY, 'alice/nil'), absent);
  });
}

const PULL = '"ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"';

export async function policies(stage: AwsStage): Promise<void> {
  const { step } = stage;
  const alice = personOf(stage, 'alice');
  const bob = personOf(stage, 'bob');
  const login = () => bob.shell('aws2 ecr get-login-password | docker login --username AWS --password-stdin $REGISTRY');
  await step('aws ecr set-repository-policy lets one user pull', async () => {
    worked(await login());
    refused(await bob.desk.pull(`${REPOSITORY}:v1`));
    const id = worked(await alice.shell('aws2 ecr describe-registry --query registryId --output text')).stdout.trim();
    const principal = `{"AWS":"arn:aws:iam::${id}:user/bob"}`;
    const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":${principal},"Action":[${PULL}]}]}`;
    worked(await alice.shell(`aws2 ecr set-repository-policy --repository-name ${REPOSITORY} --policy-text '${policy}'`));
    digestIn(await bob.desk.pull(`${REPOSITORY}:v1`));
    const read = await alice.shell(
      `aws1 ecr get-repository-policy --repository-name ${REPOSITORY} --query policyText --output text`,
    );
    same('policyText', worked(read).stdout.trim(), policy);
  });
  await step('docker push as that user is refused with words', async () => {
    refused(await bob.desk.push('two', `${REPOSITORY}:v2`), 'denied');
    const ran = await bob.shell(`aws2 ecr batch-delete-image --repository-name ${REPOSITORY} --image-ids imageTag=v1`);
    refused(ran, 'AccessDeniedException', 'is not authorized to perform: ecr:BatchDeleteImage');
  });
}

export async function lifecycle(stage: AwsStage): Promise<void> {
  const alice = personOf(stage, 'alice');
  await stage.step('aws ecr put-lifecycle-policy, and a preview that the waiter of the program waits for', async () => {
    for (const [image, tag] of [
      ['two', 'pr-1'],
      ['three', 'pr-2'],
    ] as const) {
      digestIn(await alice.desk.push(image, `${REPOSITORY}:${tag}`));
      // The rules count images by the second of their push.
      await new Promise((resolve) => setTimeout(resolve, 1100));
    }
    const selection = '{"tagStatus":"tagged","tagPatternList":["pr-*"],"countType":"imageCountMoreThan","countNumber":1}';
    const policy = `{"rules":[{"rulePriority":1,"selection":${selection},"action":{"type":"expire"}}]}`;
    const on = `--repository-name ${REPOSITORY}`;
    worked(await alice.shell(`aws2 ecr put-lifecycle-policy ${on} --lifecycle-policy-text '${policy}'`));
    worked(await alice.shell(`aws2 ecr start-lifecycle-policy-preview ${on}`));
    worked(await alice.shell(`aws2 ecr wait lifecycle-policy-preview-complete ${on}`));
    const preview = `aws2 ecr get-lifecycle-policy-preview ${on} --query 'previewResults[].imageTags[]'`;
    same('preview', JSON.parse(worked(await alice.shell(preview)).stdout).join(), 'pr-1');
  });
}

export async function lockedTags(stage: AwsStage): Promise<void> {
  const { step } = stage;
  const alice = personOf(stage, 'alice');
  const on = `--repository-name ${REPOSITORY}`;
  await step('aws ecr put-image-tag-mutability makes tags immutable, and docker push over one is refused', async () => {
    worked(await alice.shell(`aws2 ecr put-image-tag-mutability ${on} --image-tag-mutability IMMUTABLE`));
    refused(await alice.desk.push('two', `${REPOSITORY}:v1`), 'immutable');
    worked(await alice.shell(`aws2 ecr put-image-tag-mutability ${on} --image-tag-mutability MUTABLE`));
  });
  await step('aws ecr batch-delete-image deletes the image of a tag', async () => {
    const ran = await alice.shell(`aws2 ecr batch-delete-image ${on} --image-ids imageTag=pr-1 imageTag=nil`);
    const { imageIds, failures } = JSON.parse(worked(ran).stdout);
    same('deleted', imageIds[0]?.imageTag, 'pr-1');
    same('failure', failures[0]?.failureCode, 'ImageNotFound');
  });
  await step('aws ecr delete-repository is refused while there are images, and works with --force', async () => {
    worked(await alice.shell('aws2 ecr create-repository --repository-name alice/gone'));
    digestIn(await alice.desk.push('one', 'alice/gone:v1'));
    refused(await alice.shell('aws2 ecr delete-repository --repository-name alice/gone'), 'RepositoryNotEmptyException');
    worked(await alice.shell('aws2 ecr delete-repository --repository-name alice/gone --force'));
    refused(await alice.shell('aws2 ecr describe-images --repository-name alice/gone'), 'RepositoryNotFoundException');
  });
}

export async function revocation(stage: AwsStage): Promise<void> {
  const { step, registry } = stage;
  const bob = personOf(stage, 'bob');
  await step('a revoked key ends its logins, and docker says how to log in again', async () => {
    await stage.admin.call('DELETE', `/keys/${bob.key.id}`);
    refused(await bob.shell('aws2 ecr get-login-password'), 'UnrecognizedClientException');
    refused(await bob.desk.pull(`${REPOSITORY}:v1`), `docker login ${registry.host}`);
  });
}
