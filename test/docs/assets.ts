/**
 * `npm run assets`: writes the versions of the console's static files to `src/http/ui/assets.ts`. An address that contains the
 * version makes browsers load a file again when it has changed.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const UI = fileURLToPath(new URL('../../src/http/ui/', import.meta.url));

function versionOf(name: string): string {
  return createHash('sha256')
    .update(readFileSync(`${UI}public/assets/${name}`))
    .digest('hex')
    .slice(0, 8);
}

/** The text of the module with the versions. */
export function versionsModule(): string {
  return `/** The versions of the console's static files: the first 8 characters of their SHA-256. \`npm run assets\` writes this file. */
export const STYLE_VERSION = '${versionOf('console.css')}';
export const SCRIPT_VERSION = '${versionOf('console.js')}';
`;
}

/** The path of the module with the versions. */
export const VERSIONS_FILE = `${UI}assets.ts`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(VERSIONS_FILE, versionsModule());
