/** Uses the ECR API with the SDK for JavaScript. Ends with an error if something is not as ECR does it. */
const assert = require('node:assert');
const sdk = require('@aws-sdk/client-ecr');

const client = new sdk.ECRClient({});
const repositoryName = 'alice/shop';

async function main() {
  const names = [];
  for await (const page of sdk.paginateDescribeRepositories({ client, pageSize: 1 }, {}))
    names.push(...page.repositories.map((one) => one.repositoryName));
  assert(names.includes(repositoryName), names.join());

  const missing = client.send(new sdk.DescribeImagesCommand({ repositoryName: 'alice/nil' }));
  await assert.rejects(missing, sdk.RepositoryNotFoundException);
  const lost = client.send(new sdk.DescribeImagesCommand({ repositoryName, imageIds: [{ imageTag: 'nil' }] }));
  await assert.rejects(lost, sdk.ImageNotFoundException);
  const unsupported = client.send(new sdk.StartImageScanCommand({ repositoryName, imageId: { imageTag: 'v1' } }));
  await assert.rejects(unsupported, { name: 'UnsupportedOperationException' });

  const { authorizationData } = await client.send(new sdk.GetAuthorizationTokenCommand({}));
  const [{ authorizationToken, expiresAt, proxyEndpoint }] = authorizationData;
  assert(expiresAt instanceof Date);
  const answer = await fetch(`${proxyEndpoint}/v2/`, { headers: { authorization: `Basic ${authorizationToken}` } });
  assert.strictEqual(answer.status, 200);

  const { imageDetails } = await client.send(new sdk.DescribeImagesCommand({ repositoryName, imageIds: [{ imageTag: 'v1' }] }));
  assert.strictEqual(imageDetails.length, 1);
  assert(imageDetails[0].imagePushedAt instanceof Date);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
