/** The frame of every page of the console, and the headers of every page. */
import type { Child, FC } from 'hono/jsx';
import type { AppEnv, RequestContext } from '../context.ts';
import { hostOf, originOf } from '../context.ts';
import { pageHeaders } from '../page.ts';
import { SCRIPT_VERSION, STYLE_VERSION } from './assets.ts';
import { BAD_NOTICES, NOTICES, type NoticeName } from './notices.ts';
import { signInAt } from './parts/addresses.ts';
import { Notice } from './parts/form.tsx';
import { Command, Icon } from './parts/text.tsx';
import { themeOf } from './preferences.ts';

/**
 * The Content-Security-Policy of a page: what it may load and do. No script or style is inline, so the policy needs no nonce.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types berth',
].join('; ');

function headersOf(c: RequestContext): Headers {
  return new Headers({
    ...pageHeaders(c),
    'content-type': 'text/html; charset=UTF-8',
    'content-security-policy': POLICY,
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(), clipboard-write=(self)',
    // `same-origin` lets forms state the page from which they were sent. `no-referrer` would hide that, and `ownForms` checks
    // it.
    'referrer-policy': 'same-origin',
    // Pages differ by reader, and the back button must not show them after signing out.
    'cache-control': 'no-store',
  });
}

/** Answers with a page. The whole page is rendered before anything is sent, so a reader never sees half a page. */
export function render(c: RequestContext, page: unknown, status = 200): Response {
  return new Response(`<!doctype html>${page}`, { status, headers: headersOf(c) });
}

/**
 * Answers a form that changed something: the browser then loads the page that shows the change. @param path a path of this
 * registry
 */
export function seeOther(path: string, notice?: NoticeName): Response {
  const [address = '', fragment] = path.split('#');
  const location = notice === undefined ? address : `${address}${address.includes('?') ? '&' : '?'}notice=${notice}`;
  const headers = { location: fragment === undefined ? location : `${location}#${fragment}`, 'cache-control': 'no-store' };
  return new Response(null, { status: 303, headers });
}

/** Returns the path and query of the request. */
export function pathOf(c: RequestContext): string {
  const { pathname, search } = new URL(c.req.url);
  return `${pathname}${search}`;
}

/** Returns the signed-in user as the frame of a page shows the user, or `null`. */
function viewerOf(c: RequestContext): { name: string; administrator: boolean } | null {
  const { authority, caller } = c.var;
  const subject = authority?.subject || (caller?.credential?.kind === 'token' ? caller.credential.subject : '');
  if (subject === '') return null;
  return { name: subject.slice(subject.indexOf(':') + 1), administrator: authority?.administrator ?? false };
}

interface PageProps {
  c: RequestContext & { var: AppEnv['Variables'] };
  /** The title of the page. The browser's tab also shows the host after it. */
  title: string;
  /** The path of the same data in the management API, if there is one. */
  json?: string;
  /** The section of the navigation to which the page belongs. */
  section?: 'repositories' | 'organizations' | 'activity' | 'account';
  children?: Child;
}

export const Page: FC<PageProps> = ({ c, title, json, section, children }) => {
  const host = hostOf(c);
  const noticeName = (c.req.query('notice') ?? '') as NoticeName;
  const notice = Object.hasOwn(NOTICES, noticeName) ? NOTICES[noticeName] : undefined;
  const theme = themeOf(c);
  return (
    <html lang="en" data-theme={theme === 'system' ? undefined : theme}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{`${title} · ${host}`}</title>
        <link rel="icon" href={`/assets/mark.svg?v=${STYLE_VERSION}`} type="image/svg+xml" />
        <link rel="stylesheet" href={`/assets/console.css?v=${STYLE_VERSION}`} />
        <script type="module" src={`/assets/console.js?v=${SCRIPT_VERSION}`} />
      </head>
      <body>
        <a class="skip" href="#main">
          Skip to the content
        </a>
        <TopBar c={c} host={host} section={section} />
        <main id="main" tabindex={-1}>
          {notice ? <Notice tone={BAD_NOTICES.includes(noticeName) ? 'bad' : 'good'}>{notice}</Notice> : null}
          {children}
        </main>
        <Foot origin={originOf(c)} json={json} />
        <p id="said" class="visually-hidden" role="status" />
      </body>
    </html>
  );
};

const SECTIONS = [
  ['repositories', '/repositories', 'Repositories'],
  ['organizations', '/organizations', 'Organizations'],
  ['activity', '/activity', 'Activity'],
] as const;

const TopBar: FC<{ c: PageProps['c']; host: string; section: PageProps['section'] }> = ({ c, host, section }) => {
  const viewer = viewerOf(c);
  return (
    <header class="top">
      <a class="home" href="/">
        <Mark />
        <span>{host}</span>
      </a>
      <nav aria-label="Registry">
        {SECTIONS.filter(([name]) => viewer !== null || name === 'repositories').map(([name, href, text]) => (
          <a href={href} aria-current={name === section ? 'page' : undefined}>
            {text}
          </a>
        ))}
      </nav>
      <form class="search" action="/repositories">
        <label class="visually-hidden" for="search">
          Search repositories
        </label>
        <Icon name="search" />
        <input id="search" name="search" type="search" placeholder="Search repositories" autocomplete="off" maxlength={255} />
      </form>
      {viewer === null ? null : <AccountMenu {...viewer} />}
      {viewer === null && c.req.path !== '/sign-in' ? (
        <a class="sign-in" href={signInAt(pathOf(c))}>
          Sign in
        </a>
      ) : null}
    </header>
  );
};

const AccountMenu: FC<{ name: string; administrator: boolean }> = ({ name, administrator }) => (
  <details class="menu">
    <summary>
      <span>{name}</span>
      <Icon name="down" />
    </summary>
    <div class="items">
      <a href="/account">Account</a>
      <a href="/account/keys">Access keys</a>
      <a href="/account/logins">Log in with docker</a>
      <a href="/trash">Trash</a>
      {administrator ? <a href="/users">People</a> : null}
      {administrator ? <a href="/trust-rules">Trust rules</a> : null}
      {administrator ? <a href="/webhooks">Webhooks</a> : null}
      {administrator ? <a href="/usage">Usage</a> : null}
      {administrator ? <a href="/upkeep">Health</a> : null}
      <form method="post" action="/sign-out">
        <button type="submit">Sign out</button>
      </form>
    </div>
  </details>
);

/** The logo: a container beside a quay. */
export const Mark: FC = () => (
  <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
    <path d="M4 4h16v12H4zM9.300 7v6M14.700 7v6" />
    <path d="M1 20h22" />
  </svg>
);

const Foot: FC<{ origin: string; json: string | undefined }> = ({ origin, json }) => (
  <footer>
    {json === undefined ? null : (
      <details>
        <summary>This page as JSON</summary>
        <Command command={`curl -u USER '${origin}${json}'`} />
        <p class="hint">curl asks for the password: an access key.</p>
      </details>
    )}
    <p>
      <a href="/api">API</a> · <a href="/account/logins">Log in with docker</a> · <kbd>?</kbd> shows the keys
    </p>
  </footer>
);
