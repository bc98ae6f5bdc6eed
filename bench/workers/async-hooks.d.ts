/** The part of `node:async_hooks` that `delayed.ts` uses. The types of Workers do not contain it. */
declare module 'node:async_hooks' {
  export class AsyncLocalStorage<T> {
    run<R>(store: T, callback: () => R): R;
    getStore(): T | undefined;
  }
}
