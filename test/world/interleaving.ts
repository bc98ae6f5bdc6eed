/** Runs one request in the middle of another one, in every order in which the two requests can reach D1. */
import { intercepted } from './intercept.ts';
import { type World, worldOf } from './world.ts';

export type Request = (world: World) => Promise<Response>;

/**
 * Runs `outer` once for each of its D1 calls. In each run, `inner` runs completely just before that call. In a last run,
 * `inner` runs after `outer`. `prepare` is called before each run, and `check` gets both answers.
 * @param step 3 runs only the first, fourth, seventh and so on of these runs, and the last one
 * @returns the number of D1 calls
 */
export async function everyOrder(
  world: World,
  prepare: (
    run: number,
  ) => Promise<{ outer: Request; inner: Request; check: (outer: Response, inner: Response) => Promise<void> }>,
  step = 1,
): Promise<number> {
  for (let at = 0; ; at += step) {
    const { outer, inner, check } = await prepare(at);
    let calls = 0;
    let answer: Response | undefined;
    const DB = intercepted(world.env.DB, async (_, effect) => {
      if (calls++ === at) answer = await inner(world);
      return effect();
    });
    const response = await outer(worldOf({ ...world.env, DB }));
    const past = answer === undefined;
    await check(response, answer ?? (await inner(world)));
    if (past) return calls;
  }
}
