/** The page at the registry's own address: how to log in and push, and where the API is described. */
import { Hono } from 'hono';
import { html, raw } from 'hono/html';
import { type AppEnv, originOf } from './context.ts';
import { answerFixed, fixed, pageHeaders, SHEET_STYLE, styleSource } from './page.ts';

export const home = new Hono<AppEnv>().get('/', async (c) => {
  const policy = ["default-src 'none'", `style-src ${await styleSource(SHEET_STYLE)}`];
  return answerFixed(c, await fixed(String(await page(originOf(c)))), {
    'content-type': 'text/html; charset=UTF-8',
    'content-security-policy': [...policy, "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"].join('; '),
    ...pageHeaders(c),
    'cache-control': 'no-cache',
  });
});

function page(origin: string) {
  const { host } = new URL(origin);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${host} · a container registry</title>
<style>${raw(SHEET_STYLE)}</style>
</head>
<body>
<main>
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
</main>
</body>
</html>`;
}
