/** A browser for tests: keeps the session cookie, does not follow redirects, and sends forms as a page of the console does. */
import { ORIGIN, type World } from './world.ts';

export const ADMINISTRATOR = { name: 'admin', password: 'the-password-of-the-tests' };

export class Browser {
  readonly world: World;
  cookie: string | null = null;

  constructor(world: World) {
    this.world = world;
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.keep(
      await this.world.fetch('GET', path, {
        authorization: null,
        headers: { accept: 'text/html', ...this.sent(), ...headers },
      }),
    );
  }

  /** Returns the text of a page. Throws if the answer is no page. */
  async page(path: string): Promise<string> {
    const response = await this.get(path);
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${response.headers.get('location')}`);
    return response.text();
  }

  async post(
    path: string,
    fields: Record<string, string> | [string, string][],
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return this.keep(
      await this.world.fetch('POST', path, {
        authorization: null,
        headers: {
          accept: 'text/html',
          'content-type': 'application/x-www-form-urlencoded',
          origin: ORIGIN,
          'sec-fetch-site': 'same-origin',
          ...this.sent(),
          ...headers,
        },
        body: new URLSearchParams(fields).toString(),
      }),
    );
  }

  async signIn(name = ADMINISTRATOR.name, password = ADMINISTRATOR.password): Promise<Response> {
    return this.post('/sign-in', { name, password });
  }

  private sent(): Record<string, string> {
    return this.cookie === null ? {} : { cookie: this.cookie };
  }

  private keep(response: Response): Response {
    const set = response.headers.getSetCookie().find((cookie) => /^(?:__Host-)?berth=/.test(cookie));
    if (set !== undefined) this.cookie = set.includes('Max-Age=0') ? null : (set.split(';', 1)[0] ?? null);
    return response;
  }
}

/** Returns a browser that is signed in. */
export async function browserOf(world: World, name?: string, password?: string): Promise<Browser> {
  const browser = new Browser(world);
  const response = await browser.signIn(name, password);
  if (response.status !== 303) throw new Error(`signing in: ${response.status}`);
  return browser;
}
