/** The HTML page at `/`. It shows how to log in, push and pull, and links to the description of the API. */
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
<p>Log in with your user name. The password is an access key:</p>
<pre tabindex="0">docker login ${host}</pre>
<p>Push an image. Its name begins with this registry, and then your own name or that of your organization:</p>
<pre tabindex="0">docker tag hello-world ${host}/NAME/hello-world
docker push ${host}/NAME/hello-world</pre>
<p>Pull it. A public image needs no login:</p>
<pre tabindex="0">docker pull ${host}/NAME/hello-world</pre>
<p>People, teams, keys, permissions, tags and webhooks are managed by <a href="/api">the HTTP API</a>. An account comes from an
administrator of this registry.</p>
</main>`;
  return sheetPage(`${host} · a container registry`, style, body);
}
