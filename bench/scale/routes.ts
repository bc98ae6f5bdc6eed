/** Compares the routes of the registry with the routes that this benchmark calls. */
import { ROUTES } from '../../src/http/routes.ts';
import { CASES } from './measure.ts';
import { LEFT_OUT } from './registry-calls.ts';

const called = new Set(CASES.map(({ route }) => route.replace(/^HEAD /, 'GET ')));
const all = Object.entries(ROUTES).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`));

/** The routes that are neither called nor in `LEFT_OUT`. */
export const FORGOTTEN: string[] = all.filter((route) => !called.has(route) && !(route in LEFT_OUT));
/** The names in the lists of this benchmark that are no routes of the registry. */
export const UNKNOWN: string[] = [...called, ...Object.keys(LEFT_OUT)].filter((route) => !all.includes(route));
/** Lines of text about the routes that are not called. */
export const NOT_CALLED: string[] = Object.entries(LEFT_OUT).map(([route, reason]) => `not called: ${route}: ${reason}`);
