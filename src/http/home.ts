/** The HTML page at `/`. It shows how to log in, push, pull and invite somebody, and links to the description of the API. */
import { Hono } from 'hono';
import { html, raw } from 'hono/html';
import { type AppEnv, originOf } from './context.ts';
import { answerFixed, once, pageHeaders, SHEET_STYLE, sheetPage, styleSource } from './page.ts';

export const home = new Hono<AppEnv>().get('/', async (c) => {
  const policy = ["default-src 'none'", `style-src ${await styleSource(SHEET_STYLE)}`];
  const document = await once('home', originOf(c), async () => `${await page(originOf(c))}`);
  return answerFixed(c, document, {
    'content-type': 'text/html; charset=UTF-8',
    'content-security-policy': [...policy, "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"].join('; '),
    ...pageHeaders(c),
    'cache-control': 'no-cache',
  });
});

function page(origin: string) {
  const { host } = new URL(origin);
  const style = html`<style>${raw(SHEET_STYLE)}</style>`;
  const body = html`<main>
<p class="host">A container registry</p>
<h1>${host}</h1>
<p>Log in with your user name. The password is an access key. The first administrator's user name is <code>admin</code>:</p>
<pre tabindex="0">docker login ${host}</pre>
<p>Push an image. <code>NAME</code> is your user name, or an organization where you may push:</p>
<pre tabindex="0">docker tag hello-world ${host}/NAME/hello-world
docker push ${host}/NAME/hello-world</pre>
<p>Pull it. A public image needs no login:</p>
<pre tabindex="0">docker pull ${host}/NAME/hello-world</pre>
<p>Accounts come from an administrator, who invites <code>alice</code> like this. curl asks for the password, and the answer has
the link for Alice:</p>
<pre tabindex="0">curl -u admin -X PUT ${origin}/api/v1/users/alice</pre>
<p>Organizations, teams, keys, permissions, tags and webhooks are managed by <a href="/api">the HTTP API</a> too. The
documentation is in the folder <code>docs</code> of Berth's source code: begin with <code>docs/README.md</code>.</p>
</main>`;
  return sheetPage(`${host} · a container registry`, style, body);
}
