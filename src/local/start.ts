/** `npm start`: runs the registry on this machine. */
import { createServer } from 'node:net';
import { lockFolder } from './lock.ts';
import { type Options, readOptions } from './options.ts';
import { endOrphan } from './orphan.ts';
import { startRuntime } from './runtime.ts';
import { StartError } from './start-error.ts';
import { addressOf, welcome } from './welcome.ts';

async function main(): Promise<void> {
  const options = readOptions(process.env);
  await lockFolder(options.dataDir);
  await endOrphan(options.dataDir);
  await requirePort(options);
  const runtime = await startRuntime(options);
  await requireAnswer(options).catch(async (error: unknown) => {
    await runtime.stop();
    throw error;
  });
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    console.log('\nStopping.');
    runtime.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  // The emulator's own handlers would end the process at once, with an exit code that npm reports as an error.
  for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal).on(signal, stop);
  console.log(await welcome(options));
}

/** Tries the port here, since the runtime's error is less clear. */
function requirePort({ host, port }: Options): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'something else is using it' : error.message;
      reject(new StartError(`Cannot listen on ${host}:${port}: ${why}. Set PORT or HOST to another one.`));
    });
    server.listen(port, host, () => server.close(() => resolve()));
  });
}

/** Asks the registry whether it can serve. @throws StartError with its answer if it cannot */
async function requireAnswer(options: Options): Promise<void> {
  const response = await fetch(`http://${addressOf(options)}/v2/`);
  if (response.status < 500) return;
  const { errors } = (await response.json()) as { errors: { message: string }[] };
  throw new StartError(`The registry on ${options.dataDir} cannot serve: ${errors[0]?.message}.`);
}

main().catch((error: unknown) => {
  console.error(error instanceof StartError ? `\n${error.message}\n` : error);
  process.exit(1);
});
