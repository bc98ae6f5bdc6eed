/**
 * The framework without its default routers. The first of them cannot have our paths, in which a name with slashes stands
 * before other segments: it would read all routes on the first request in each isolate, and then give up. A resource needs no
 * router: it is a list of routes, which `app.ts` adds to the router of the app.
 */
import type { Env } from 'hono';
import { HonoBase, type HonoOptions } from 'hono/hono-base';

const NO_ROUTER: HonoBase['router'] = {
  name: 'none',
  add: () => undefined,
  match: () => [[]],
};

export class Hono<E extends Env> extends HonoBase<E> {
  constructor(options: HonoOptions<E> = {}) {
    super({ router: NO_ROUTER, ...options } as HonoOptions<E>);
  }
}
