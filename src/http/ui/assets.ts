/** The versions of the console's static files: the first 8 characters of their SHA-256. `npm run assets` writes this file. */
export const STYLE_VERSION = '82dc64ab';
export const SCRIPT_VERSION = '88d987a5';
