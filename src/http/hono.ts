/**
 * The framework with one router. The package's own class tries another one first, which cannot have our paths: in them, a name
 * with slashes stands before other segments. It would read all routes on the first request in each isolate, and then give up.
 */
import type { Env } from 'hono';
import { HonoBase } from 'hono/hono-base';
import { TrieRouter } from 'hono/router/trie-router';

export class Hono<E extends Env> extends HonoBase<E> {
  override router: HonoBase<E>['router'] = new TrieRouter();
}
