/**
 * Serves the static files of the web console and the documents about the management API under `npm start`. A Worker in the
 * emulator serves them from memory. On Cloudflare, Static Assets serves the same folder.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
};

/** Returns the files in the subfolders of a folder, by the path at which they are served. */
export function readAssets(folder: string): Record<string, { type: string; text: string }> {
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const paths = folders.flatMap(({ name }) => readdirSync(join(folder, name)).map((file) => `${name}/${file}`));
  return Object.fromEntries(
    paths.map((path) => {
      const type = TYPES[extname(path)] ?? 'application/octet-stream';
      return [`/${path}`, { type, text: readFileSync(join(folder, path), 'utf8') }];
    }),
  );
}

/** Returns the source of a Worker that serves these files. Browsers cache them for a day, as the file `_headers` says. */
export function assetsWorker(files: ReturnType<typeof readAssets>): string {
  return `const files = ${JSON.stringify(files)};
export default {
  fetch(request) {
    const file = files[new URL(request.url).pathname];
    if (!file) return new Response(null, { status: 404 });
    const headers = { 'content-type': file.type, 'cache-control': 'public, max-age=86400, stale-while-revalidate=604800' };
    return new Response(file.text, { headers });
  },
};`;
}
