/**
 * `npm run deploy`: migrates the database, then deploys the Worker, so that new code never meets an older schema. The code that
 * is deployed at that moment keeps working on the newer one. The first deployment has no database yet: there the Worker comes
 * first, since deploying it makes the database.
 */
import { spawnSync } from 'node:child_process';

/** The message of wrangler (4.156) for a database that does not exist. */
const NO_DATABASE = "Couldn't find a D1 DB";

function wrangler(...parameters: string[]): void {
  const { status, error } = spawnSync('wrangler', parameters, { stdio: 'inherit' });
  if (error) console.error(`wrangler cannot be run: ${error.message}. Start this with npm run deploy.`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Exits if it cannot be known, as without a login. */
function hasDatabase(): boolean {
  const { status, stdout, stderr } = spawnSync('wrangler', ['d1', 'info', 'DB', '--json'], {
    stdio: ['inherit', 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  if (status === 0) return true;
  if (`${stdout}${stderr}`.includes(NO_DATABASE)) return false;
  console.error(`${stdout ?? ''}${stderr ?? ''}\nNothing was deployed: wrangler could not be asked about the database.`);
  process.exit(1);
}

const steps = [
  ['d1', 'migrations', 'apply', 'DB', '--remote'],
  ['deploy', ...process.argv.slice(2)],
];
for (const step of hasDatabase() ? steps : steps.reverse()) wrangler(...step);
