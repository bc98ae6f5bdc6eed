/**
 * The versions of the console's static files: the first 8 characters of their SHA-256 hashes. `npm run assets` writes this
 * file.
 */
export const STYLE_VERSION = 'd5bb75ad';
export const SCRIPT_VERSION = '4359a4d9';
