/** The walk with the libraries of AWS: boto3 and the SDK for JavaScript, each as a program of its own. */
import { fileURLToPath } from 'node:url';
import { worked } from '../people/steps.ts';
import { type AwsStage, personOf } from './stage.ts';

const PYTHON = fileURLToPath(new URL('walk.py', import.meta.url));
const SCRIPT = fileURLToPath(new URL('walk.cjs', import.meta.url));
const MODEL = fileURLToPath(new URL('model.py', import.meta.url));
const STORED_MODEL = fileURLToPath(new URL('../../http/ecr/model.json', import.meta.url));

export async function libraries(stage: AwsStage): Promise<void> {
  const { step } = stage;
  const alice = personOf(stage, 'alice');
  await step('boto3 pages, puts an image under another tag, uploads a layer in parts and downloads it by its URL', async () => {
    worked(await alice.shell(`"$FOLDER/python/bin/python" ${PYTHON}`));
  });
  await step('the SDK for JavaScript gets its typed errors, pages and the login', async () => {
    worked(await alice.shell(`NODE_PATH="$FOLDER/sdk/node_modules" ${process.execPath} ${SCRIPT}`));
  });
  await step('the model of the API that a test compares with the schemas is that of botocore', async () => {
    worked(await alice.shell(`"$FOLDER/python/bin/python" ${MODEL} ${STORED_MODEL}`));
  });
}
