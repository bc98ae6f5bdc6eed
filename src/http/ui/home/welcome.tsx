/** The home page for a visitor who is not signed in. */
import type { ListedRepository } from '../../../app/repositories.ts';
import { hostOf, originOf, type RequestContext } from '../../context.ts';
import { Mark, Page } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import { Bytes, Command, countText, Foreign } from '../parts/text.tsx';

export function Welcome({ c, repositories }: { c: RequestContext; repositories: ListedRepository[] }) {
  const host = hostOf(c);
  return (
    <Page c={c} title="A container registry">
      <section class="welcome">
        <div>
          <h1>
            <Mark /> {host}
          </h1>
          <p class="lead">
            A container registry: it stores images for docker, podman, Kubernetes and every other client that speaks OCI.
          </p>
          <p class="actions">
            <a class="button main" href="/sign-in">
              Sign in
            </a>
            <a class="button" href="/repositories">
              Public repositories
            </a>
          </p>
          <PublicRepositories repositories={repositories} />
        </div>
        <FirstSteps host={host} origin={originOf(c)} />
      </section>
    </Page>
  );
}

function PublicRepositories({ repositories }: { repositories: ListedRepository[] }) {
  if (repositories.length === 0) return null;
  return (
    <>
      <h2>Public repositories</h2>
      <ul class="rows panel">
        {repositories.map(({ name, description, tags, bytes }) => (
          <li>
            <a class="strong" href={repositoryAt(name)} data-row>
              {name}
            </a>
            <span class="soft">
              {countText(tags, 'tag')}, <Bytes value={bytes} />
            </span>
            {description === '' ? null : (
              <span class="wide soft">
                <Foreign text={description} />
              </span>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

function FirstSteps({ host, origin }: { host: string; origin: string }) {
  return (
    <div class="panel">
      <h2>From docker</h2>
      <ol class="steps">
        <li>
          Log in with your user name. The password is an access key. The first administrator's user name is <code>admin</code>.
          <Command command={`docker login ${host}`} />
        </li>
        <li>
          Push an image. <code>NAME</code> is your user name, or an organization where you may push.
          <Command command={`docker tag hello-world ${host}/NAME/hello-world\ndocker push ${host}/NAME/hello-world`} />
        </li>
        <li>
          Pull it. A public image needs no login.
          <Command command={`docker pull ${host}/NAME/hello-world`} />
        </li>
      </ol>
      <h2>No account yet?</h2>
      <p>
        Accounts come from an administrator, who invites <code>alice</code> on the page of people or like this. The answer has
        the link for Alice.
      </p>
      <Command command={`curl -u admin -X PUT ${origin}/api/v1/users/alice`} />
      <p class="hint">
        curl asks for the password. All that this console does can be done by <a href="/api">the HTTP API</a> too.
      </p>
    </div>
  );
}
