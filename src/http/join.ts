/**
 * The page on which a user accepts an invitation. The token follows the `#` of the link, and browsers do not send that part. A
 * script reads the token, and sends it only when the user presses the button. So a mail scanner that opens the link does not
 * use up the invitation. Afterwards the page signs the user in with the new key, which is sent in the body of a form.
 */

import { html, raw } from 'hono/html';
import { type AppEnv, originOf } from './context.ts';
import { Hono } from './hono.ts';
import { pageHeaders, SHEET_STYLE, sheetPage } from './page.ts';

export const join = new Hono<AppEnv>({ strict: false }).get('/', (c) => {
  const nonce = crypto.randomUUID();
  return c.html(page(originOf(c), nonce), 200, {
    'content-security-policy': [
      "default-src 'none'",
      `script-src 'nonce-${nonce}'`,
      `style-src 'nonce-${nonce}'`,
      "connect-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'none'",
    ].join('; '),
    ...pageHeaders(c),
    'x-robots-tag': 'noindex',
    'cache-control': 'no-store',
  });
});

function page(origin: string, nonce: string) {
  const { host } = new URL(origin);
  const style = html`<style nonce="${nonce}">${raw(SHEET_STYLE + STYLE)}</style>`;
  const body = html`<main>
<p class="host">${host}</p>
<noscript>${withoutScript(origin)}</noscript>
${ready(host)}
${done()}
<section id="closed" role="alert" hidden>
<h1 id="closed-title"></h1>
<p id="closed-why"></p>
</section>
<p id="said" class="visually-hidden" role="status"></p>
</main>
<script nonce="${nonce}">${raw(SCRIPT)}</script>`;
  return sheetPage(`Join ${host}`, style, body);
}

function withoutScript(origin: string) {
  return html`<h1>You are invited</h1>
<p>This page accepts invitations with a script, and your browser runs none. Allow scripts here and load the page again,
  or accept
on the command line with what follows the # of your link:</p>
<pre tabindex="0">curl -H 'content-type: application/json' \\
  -d '{"token": "PASTE IT HERE"}' \\
  ${origin}/api/v1/invitations/accept</pre>`;
}

function ready(host: string) {
  return html`<section id="ready" hidden>
<h1>You are invited</h1>
<p><strong>${host}</strong> is a container registry.<span id="as" hidden> Your user name there will be
<strong id="invited"></strong>.</span></p>
<p>Accepting gives you an access key. It is your password for <code>docker login</code> and for everything else here, and it is
shown once: have your password manager at hand.</p>
<p><button id="accept" type="button" class="main">Accept the invitation</button></p>
<p id="failed" class="warning" role="alert" hidden></p>
<p id="until" class="small" hidden></p>
</section>`;
}

function done() {
  return html`<section id="done" hidden>
<h1 id="welcome" tabindex="-1">Welcome</h1>
<p class="warning"><strong>Save the access key now.</strong> It is not shown again.</p>
<dl>
${field('name', 'User name')}
${field('secret', 'Access key: your password')}
${field('login', 'To log in with docker')}
</dl>
<p>docker asks for the password then: paste the access key. It is good until <span id="expires"></span>.</p>
${signIn()}
</section>`;
}

/**
 * The form that signs the user in. Password managers read its fields and offer to save them when the form is sent. The script
 * sends the form, because the policy of this page (CSP) allows no form to navigate away.
 */
function signIn() {
  return html`<form id="sign-in" method="post" action="/sign-in">
<div class="visually-hidden" aria-hidden="true">
<input id="as-name" name="name" type="text" autocomplete="username" tabindex="-1" readonly aria-label="User name">
<input id="as-key" name="password" type="password" autocomplete="current-password" tabindex="-1" readonly
  aria-label="Access key">
</div>
<p><button type="submit" class="main">I have saved it: sign in</button></p>
<p id="signed-out" class="warning" role="alert" hidden></p>
</form>`;
}

function field(id: string, label: string) {
  return html`<div><dt id="${id}-label">${label}</dt>
<dd><code id="${id}"></code><button type="button" data-copy="${id}" aria-label="Copy: ${label}">Copy</button></dd></div>`;
}

const STYLE = `
[hidden] { display: none !important; }
main > section > :last-child { margin-bottom: 0; }
.small { color: var(--soft); font-size: .9rem; }
.warning { padding: .7rem .9rem; border-radius: 8px; background: var(--warn); color: var(--on-warn); }
dl { margin: 0 0 1rem; }
dl > div + div { margin-top: 1rem; }
dt { margin-bottom: .3rem; font-weight: 600; font-size: .9rem; }
dd { display: flex; gap: .5rem; align-items: stretch; margin: 0; }
dd code { flex: 1; min-width: 0; padding: .65rem .8rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--well);
  user-select: all; -webkit-user-select: all; }
button { min-width: 5.5rem; min-height: 44px; padding: .5rem 1rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--sheet); color: var(--ink); font: inherit; cursor: pointer; }
button:hover { border-color: var(--accent); }
button.main { width: 100%; border-color: var(--accent); background: var(--accent); color: var(--on-accent); font-weight: 600; }
button:disabled { opacity: .6; cursor: progress; }
.visually-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
@media (max-width: 30rem) { dd { flex-direction: column; } }
`;

/**
 * The script moves the token from the address bar to the state of the history entry, so that it is still available after a
 * reload.
 */
const SCRIPT = `
'use strict';
const $ = (id) => document.getElementById(id);
const dateOf = (time) => new Date(time).toLocaleDateString('en', { dateStyle: 'long' });
const forget = () => history.replaceState(null, '', location.pathname);
const token = location.hash.slice(1) || history.state;
history.replaceState(token, '', location.pathname);
addEventListener('hashchange', () => location.reload());

function show(id) {
  for (const section of document.querySelectorAll('section')) section.hidden = section.id !== id;
}

function close(title, why) {
  $('closed-title').textContent = title;
  $('closed-why').textContent = why;
  show('closed');
}

function claimsOf(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    return {};
  }
}

function begin() {
  if (!token) {
    close('No invitation is open here', 'A link to this page works with the part that follows its #: copy the link as a whole, '
      + 'or open it again where you got it. If you have accepted the invitation already, your access key is not shown again; '
      + 'an administrator can send you a new link.');
    return;
  }
  const { sub, exp } = claimsOf(token);
  if (/^user:[a-z0-9._-]+$/.test(sub)) {
    $('invited').textContent = sub.slice('user:'.length);
    $('as').hidden = false;
  }
  if (exp > 0) {
    $('until').textContent = 'The invitation is open until ' + dateOf(exp * 1000) + ', and can be accepted once.';
    $('until').hidden = false;
  }
  show('ready');
}

async function accept() {
  $('accept').disabled = true;
  $('failed').hidden = true;
  try {
    const response = await fetch('/api/v1/invitations/accept', {
      method: 'POST', credentials: 'omit', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token }),
    });
    const answer = await response.json();
    if (response.ok) welcome(answer);
    else if (response.status === 400) refuse(answer.errors[0].message);
    else fail('The registry says: ' + answer.errors[0].message + '.');
  } catch {
    fail('The registry did not answer. Try again; if the invitation turns out to be used, ask for a new one.');
  }
  $('accept').disabled = false;
}

function fail(message) {
  $('failed').textContent = message;
  $('failed').hidden = false;
}

function refuse(message) {
  forget();
  close('This invitation cannot be accepted', message[0].toUpperCase() + message.slice(1) + '.');
}

function welcome({ user, key, login }) {
  forget();
  addEventListener('beforeunload', warn);
  $('welcome').textContent = 'Welcome, ' + user.name;
  $('name').textContent = user.name;
  $('secret').textContent = key.secret;
  $('login').textContent = login;
  $('as-name').value = user.name;
  $('as-key').value = key.secret;
  $('expires').textContent = dateOf(key.expiresAt);
  show('done');
  $('welcome').focus();
}

async function signIn(event) {
  event.preventDefault();
  $('signed-out').hidden = true;
  try {
    const body = new URLSearchParams(new FormData(event.target));
    const response = await fetch('/sign-in', { method: 'POST', redirect: 'manual', body });
    if (response.type === 'opaqueredirect') return location.assign('/');
  } catch {}
  $('signed-out').textContent = 'Signing in did not work here: open the registry by its https address. The access key works.';
  $('signed-out').hidden = false;
}

function warn(event) {
  event.preventDefault();
}

async function copy(button) {
  const source = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    if (!document.execCommand('copy')) return;
  }
  if (source.id === 'secret') removeEventListener('beforeunload', warn);
  button.textContent = 'Copied';
  $('said').textContent = $(source.id + '-label').textContent + ': copied';
  setTimeout(() => { button.textContent = 'Copy'; $('said').textContent = ''; }, 2500);
}

$('accept').addEventListener('click', accept);
$('sign-in').addEventListener('submit', signIn);
for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
begin();
`;
