/** The versions of the console's static files: the first 8 characters of their SHA-256. `npm run assets` writes this file. */
export const STYLE_VERSION = 'fcaf855d';
export const SCRIPT_VERSION = '9cd6c651';
