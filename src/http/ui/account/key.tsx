/** The page of one access key: its rights, and the forms to replace and revoke it. Also used for keys of robots. */

import { type AccessKey, changeKey, getKey, revokeKey, rotateKey } from '../../../app/keys.ts';
import { shownStatement } from '../../../app/statements.ts';
import { nameOf, organizationOf } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { ConfirmKey, confirmedCall } from '../confirmed.tsx';
import { type Form, readForm, requireConfirmed, versionIn } from '../forms.ts';
import { KeyState, MadeKey, Once, onceIn } from '../keys.tsx';
import { Page, render, seeOther } from '../page.tsx';
import { keyAt, organizationAt, userAt } from '../parts/addresses.ts';
import { Checkbox, ConfirmName, Input, Overtaken, Refusals, type Refused, Select, TextArea } from '../parts/form.tsx';
import { Day, Foreign, Principal, When } from '../parts/text.tsx';
import { statusOf, tried, triedSignIn } from '../refused.tsx';
import { StatementText, statementsOfJson } from '../rights.tsx';

export const keyPages = new Hono<AppEnv>()
  .get('/keys/:key', async (c) => render(c, <Key c={c} accessKey={await getKey(callOf(c), c.req.param('key'))} />))
  .post('/keys/:key', async (c) => {
    const [form, key] = await Promise.all([readForm(c), getKey(callOf(c), c.req.param('key'))]);
    const outcome = await tried(form, () => changeKey(callOf(c), key.id, changeIn(form), versionIn(form)));
    if ('done' in outcome) return seeOther(keyAt(key.id), 'saved');
    return render(c, <Key c={c} accessKey={key} change={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .post('/keys/:key/rotation', async (c) => {
    const [form, key] = await Promise.all([readForm(c), getKey(callOf(c), c.req.param('key'))]);
    const overlap = Number(form.text('overlap'));
    const outcome = await triedSignIn(form, async () =>
      rotateKey(await confirmedCall(c, form), key.id, { overlap }, onceIn(form)),
    );
    if ('done' in outcome) return render(c, <MadeKey c={c} made={outcome.done} back={listOf(c, key)} section="account" />);
    return render(c, <Key c={c} accessKey={key} rotation={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .post('/keys/:key/revocation', async (c) => {
    const [form, key] = await Promise.all([readForm(c), getKey(callOf(c), c.req.param('key'))]);
    const outcome = await tried(form, () => revoke(c, form, key));
    if ('done' in outcome) return seeOther(listOf(c, key), 'revoked');
    return render(c, <Key c={c} accessKey={key} revocation={outcome.refused} />, statusOf(outcome.refused.refusal));
  });

/** Returns the change that a form describes. A key without statements may do everything that its owner may do. */
function changeIn(form: Form) {
  const json = form.raw('statements').trim();
  return { name: form.text('name'), statements: json === '' ? null : statementsOfJson(json) };
}

async function revoke(c: RequestContext, form: Form, key: AccessKey): Promise<void> {
  requireConfirmed(form, key.id);
  await revokeKey(callOf(c), key.id, form.has('made') ? { made: 'revoke' } : {});
}

/** Returns the path of the page that lists the keys of the same owner. */
function listOf(c: RequestContext, { owner }: AccessKey): string {
  if (owner === callOf(c).authority.subject) return '/account/keys';
  const organization = organizationOf(owner);
  return organization === '' ? userAt(nameOf(owner)) : organizationAt(organization, `robots/${nameOf(owner).split('/')[1]}`);
}

interface KeyProps {
  c: RequestContext;
  accessKey: AccessKey;
  change?: Refused;
  rotation?: Refused;
  revocation?: Refused;
}

function Key({ c, accessKey: key, change, rotation, revocation }: KeyProps) {
  const { authority } = callOf(c);
  const organization = organizationOf(key.owner);
  const isOwn = key.owner === authority.subject || (organization !== '' && authority.bounds.length === 0);
  const isActive = key.state === 'active';
  return (
    <Page c={c} title={key.name} section="account" json={`/api/v1/keys/${key.id}`}>
      <header class="subject">
        <h1>
          <a href={listOf(c, key)}>Access keys</a>
          <span class="slash">/</span>
          <Foreign text={key.name} />
        </h1>
        <KeyState state={key.state} />
      </header>
      <div class="cards wide spaced">
        <Facts accessKey={key} />
        {isActive && isOwn && authority.bounds.length === 0 ? <Change accessKey={key} refused={change} /> : null}
        {isActive && isOwn ? <Replace c={c} accessKey={key} refused={rotation} /> : null}
        {isActive ? <Revoke accessKey={key} refused={revocation} /> : null}
      </div>
    </Page>
  );
}

function Facts({ accessKey: key }: { accessKey: AccessKey }) {
  return (
    <section class="panel">
      <dl class="facts">
        <dt>Id</dt>
        <dd class="mono">{key.id}</dd>
        <dt>Owner</dt>
        <dd>
          <Principal subject={key.owner} />
        </dd>
        <dt>May do</dt>
        <dd>
          {key.statements === null ? 'Everything its owner may do' : null}
          <ul class="lines">
            {key.statements?.map((statement) => (
              <li>
                <StatementText statement={shownStatement(statement)} />
              </li>
            ))}
          </ul>
        </dd>
        <dt>Expires</dt>
        <dd>
          <When at={key.expiresAt} />
        </dd>
        <dt>Last used</dt>
        <dd>
          <Day day={key.lastUsedDay} />
        </dd>
        <dt>Made</dt>
        <dd>
          <When at={key.createdAt} /> by <Principal subject={key.createdBy} />
        </dd>
        <Provenance accessKey={key} />
      </dl>
    </section>
  );
}

function Provenance({ accessKey: { madeWith, revokedAt } }: { accessKey: AccessKey }) {
  return (
    <>
      {madeWith === null ? null : (
        <>
          <dt>Made with</dt>
          <dd>
            <a class="mono" href={keyAt(madeWith)}>
              {madeWith}
            </a>
          </dd>
        </>
      )}
      {revokedAt === null ? null : (
        <>
          <dt>Revoked</dt>
          <dd>
            <When at={revokedAt} />
          </dd>
        </>
      )}
    </>
  );
}

function Change({
  accessKey: { id, name, statements, version },
  refused,
}: {
  accessKey: AccessKey;
  refused: Refused | undefined;
}) {
  const shown = statements === null ? '' : JSON.stringify(statements.map(shownStatement), null, 2);
  return (
    <form method="post" action={keyAt(id)} class="panel">
      <h2>Change it</h2>
      <Refusals refused={refused} />
      <Overtaken refused={refused} now={[name, shown].filter(Boolean).join(' ')} />
      <input type="hidden" name="version" value={String(version)} />
      <Input name="name" label="Name" value={name} max={100} required refused={refused} />
      <TextArea
        name="statements"
        label="Limits, as JSON"
        hint="Empty: no limits. The key may do what both its owner and the statements allow."
        rows={5}
        mono
        value={shown}
        refused={refused}
      />
      <button type="submit">Save</button>
    </form>
  );
}

const HOUR = 60 * 60;

function Replace({ c, accessKey, refused }: { c: RequestContext; accessKey: AccessKey; refused: Refused | undefined }) {
  return (
    <form method="post" action={keyAt(accessKey.id, 'rotation')} class="panel">
      <h2>Replace it</h2>
      <Refusals refused={refused} />
      <Once />
      <p class="hint">A new key with the same rights. The old one ends by itself.</p>
      <Select
        name="overlap"
        label="The old key works for"
        value={String(24 * HOUR)}
        options={[
          ['0', 'no longer'],
          [String(HOUR), 'another hour'],
          [String(24 * HOUR), 'another day'],
          [String(7 * 24 * HOUR), 'another week'],
        ]}
        refused={refused}
      />
      <ConfirmKey c={c} refused={refused} />
      <button type="submit">Replace the key</button>
    </form>
  );
}

function Revoke({ accessKey, refused }: { accessKey: AccessKey; refused: Refused | undefined }) {
  return (
    <form method="post" action={keyAt(accessKey.id, 'revocation')} class="panel danger">
      <h2>Revoke it</h2>
      <Refusals refused={refused} />
      <p>Everything that uses the key is refused at once, and so are the keys that replaced it. This cannot be undone.</p>
      <Checkbox name="made" label="Also revoke the keys that were made with it" />
      <ConfirmName expected={accessKey.id} refused={refused} />
      <button type="submit" class="danger">
        Revoke the key
      </button>
    </form>
  );
}
