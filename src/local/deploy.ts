/**
 * `npm run deploy`: first migrates the database and then deploys the Worker, so that new code never runs on an older schema.
 * The code that is still deployed during the migration also works on the newer schema. At the first deployment there is no
 * database yet. In this case the Worker is deployed first, because wrangler then creates the database.
 */
import { spawnSync } from 'node:child_process';

/** The text in wrangler's error message (version 4.156) for a database that does not exist. */
const NO_DATABASE = "Couldn't find a D1 DB";

function wrangler(...parameters: string[]): void {
  const { status, error } = spawnSync('wrangler', parameters, { stdio: 'inherit' });
  if (error) console.error(`wrangler cannot be run: ${error.message}. Start this with npm run deploy.`);
  if (status !== 0) process.exit(status ?? 1);
}

/**
 * Returns true if the database exists. Ends the program if wrangler cannot find out, for example because the user is not logged
 * in.
 */
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
