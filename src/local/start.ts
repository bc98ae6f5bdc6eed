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
  // The emulator's own signal handlers are removed, because they end the process at once, and npm reports their exit code as an
  // error.
  for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal).on(signal, stop);
  console.log(await welcome(options));
}

/** @throws StartError if the port is not free. The runtime's own error message would be less clear */
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

/** Sends a request to the registry. @throws StartError with the registry's message if the answer has a 5xx status */
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
