/**
 * `npm run reference`: writes the documents about the API, which the Worker serves under `/api`. They are built from the routes
 * (`src/http/api/reference/`). Node cannot import the routes, because they import a module of the runtime.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type PluginBuild } from 'esbuild';

const ENTRY = fileURLToPath(new URL('../../src/http/api/reference/documents.ts', import.meta.url));

/** The folder with the documents. */
export const REFERENCE = fileURLToPath(new URL('../../src/http/ui/public/reference', import.meta.url));

/** The text of each document, by the name of its file. */
export async function documents(): Promise<Record<string, string>> {
  const { outputFiles } = await build({
    entryPoints: [ENTRY],
    bundle: true,
    format: 'esm',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['node:*'],
    write: false,
    logLevel: 'silent',
    plugins: [{ name: 'runtime', setup }],
  });
  const code = Buffer.from(outputFiles[0]?.text ?? '').toString('base64');
  const built = (await import(`data:text/javascript;base64,${code}`)) as { documents(): Promise<Record<string, string>> };
  return await built.documents();
}

/** Replaces the module of the runtime. No document needs it. */
function setup({ onResolve, onLoad }: PluginBuild): void {
  onResolve({ filter: /^cloudflare:/ }, ({ path }) => ({ path, namespace: 'runtime' }));
  onLoad({ filter: /.*/, namespace: 'runtime' }, () => ({ contents: 'export const waitUntil = () => undefined;' }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(REFERENCE, { recursive: true });
  for (const [name, text] of Object.entries(await documents())) writeFileSync(join(REFERENCE, name), text);
}
