/** The page of one user, for administrators. */

import { type AccessKey, listKeys } from '../../../app/keys.ts';
import { changeUser, getUser, logOutUser, openInvitation, type User } from '../../../app/people.ts';
import { parseName } from '../../../vocabulary/names.ts';
import { Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, readForm, versionIn } from '../forms.ts';
import { InvitationLink } from '../invitation.tsx';
import { KeyTable } from '../keys.tsx';
import { Page, render, seeOther } from '../page.tsx';
import { userAt } from '../parts/addresses.ts';
import { ActionForm, Checkbox, Input, Overtaken, Refusals, type Refused, sentence } from '../parts/form.tsx';
import { Chip, Foreign, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { administratorCall } from './administrator.ts';
import { UserState } from './users.tsx';

const KEYS_SHOWN = 50;

export const userPages = new Hono<AppEnv>()
  .get('/users/:user', async (c) => render(c, <UserView {...(await userIn(c))} />))
  .post('/users/:user', async (c) => {
    const call = administratorCall(c);
    const form = await readForm(c);
    const outcome = await tried(form, () => changeUser(call, subjectIn(c), changeIn(form), versionIn(form)));
    return 'done' in outcome ? seeOther(userAt(outcome.done.user.name), 'saved') : refusedAt(c, outcome.refused);
  })
  .post('/users/:user/invitation', async (c) => {
    const call = administratorCall(c);
    const form = await readForm(c);
    const outcome = await tried(form, () => openInvitation(call, subjectIn(c)));
    if ('refused' in outcome) return refusedAt(c, outcome.refused);
    const back = userAt(outcome.done.user.name);
    return render(c, <InvitationLink c={c} invited={outcome.done} back={back} section="account" />);
  })
  .post('/users/:user/logins', async (c) => {
    const call = administratorCall(c);
    const form = await readForm(c);
    await logOutUser(call, subjectIn(c), { keys: form.has('keys') });
    return seeOther(userAt(parseName(c.req.param('user'))), 'logged-out');
  });

/** The page has two forms: one changes the data of the user, the other disables or enables the user. */
function changeIn(form: Form) {
  if (form.has('disabled')) return { disabled: form.text('disabled') === 'true' };
  return { description: form.text('description'), administrator: form.has('administrator') };
}

function subjectIn(c: RequestContext): string {
  return `user:${parseName(c.req.param('user') ?? '')}`;
}

async function refusedAt(c: RequestContext, refused: Refused): Promise<Response> {
  return render(c, <UserView {...(await userIn(c))} refused={refused} />, statusOf(refused.refusal));
}

interface UserProps {
  c: RequestContext;
  user: User;
  keys: AccessKey[];
  refused?: Refused;
}

async function userIn(c: RequestContext): Promise<UserProps> {
  const call = administratorCall(c);
  const subject = subjectIn(c);
  const [user, { items }] = await Promise.all([
    getUser(call, subject),
    listKeys(call, subject, { after: '', limit: KEYS_SHOWN }),
  ]);
  if (!('version' in user)) throw new Refusal('not-found');
  return { c, user, keys: items };
}

function UserView({ c, user, keys, refused }: UserProps) {
  const { name, administrator, createdAt, description, invitation } = user;
  return (
    <Page c={c} title={name} section="account" json={`/api/v1/users/${name}`}>
      <header class="subject">
        <h1>
          <a href="/users">People</a>
          <span class="slash">/</span>
          {name}
        </h1>
        {administrator ? <Chip tone="good">administrator</Chip> : null}
        <UserState user={user} />
        <a class="button" href={userAt(name, 'usage')}>
          Usage
        </a>
        <p class="description">
          <Foreign text={description === '' ? '' : sentence(description)} /> The account was made <When at={createdAt} />.
          {invitation === null ? null : (
            <>
              {' '}
              The invitation expires <When at={invitation.until} />.
            </>
          )}
        </p>
      </header>
      <Refusals refused={refused} />
      <div class="cards wide spaced">
        <Change user={user} refused={refused} />
        <Access user={user} isSelf={callOf(c).authority.subject === user.subject} />
        <Invitation user={user} />
      </div>
      <h2>Access keys</h2>
      {keys.length === 0 ? <p class="soft">None.</p> : <KeyTable keys={keys} />}
    </Page>
  );
}

function Change({ user, refused }: { user: User; refused: Refused | undefined }) {
  return (
    <form method="post" action={userAt(user.name)} class="panel">
      <input type="hidden" name="version" value={String(user.version)} />
      <Overtaken refused={refused} now={user.description} />
      <Input
        name="description"
        label="Who this is"
        hint="Only administrators see it."
        value={user.description}
        max={255}
        refused={refused?.value('description') ? refused : undefined}
      />
      <Checkbox
        name="administrator"
        label="Administrator"
        hint="May do everything in this registry."
        checked={user.administrator}
      />
      <p class="actions">
        <button type="submit">Save</button>
      </p>
    </form>
  );
}

function Access({ user: { name, disabled, version }, isSelf }: { user: User; isSelf: boolean }) {
  return (
    <section class="panel">
      <h2>Access</h2>
      {disabled ? (
        <p>No credential of {name} works. Enabling makes the access keys work again, except revoked ones.</p>
      ) : (
        <>
          <p>Logging out ends all browsers and logins of docker. Access keys keep working, unless you revoke them too.</p>
          <form method="post" action={`${userAt(name)}/logins`}>
            <Checkbox name="keys" label="Revoke the access keys too" />
            <p class="actions">
              <button type="submit">Log {name} out</button>
            </p>
          </form>
          <p class="spaced">Disabling stops everything, access keys included, until {name} is enabled again.</p>
        </>
      )}
      <div class="actions spaced">
        {isSelf ? null : (
          <ActionForm
            action={userAt(name)}
            fields={{ version: String(version), disabled: String(!disabled) }}
            label={disabled ? `Enable ${name}` : `Disable ${name}`}
            tone={disabled ? 'main' : 'danger'}
          />
        )}
      </div>
    </section>
  );
}

function Invitation({ user: { name, joined, disabled } }: { user: User }) {
  if (disabled) return null;
  return (
    <section class="panel">
      <h2>Invitation</h2>
      <p>
        {joined
          ? `If ${name} has lost all access keys, a new link gives another one.`
          : 'A new link replaces the one that you have sent.'}
      </p>
      <div class="actions spaced">
        <ActionForm action={`${userAt(name)}/invitation`} label="Make a new link" />
      </div>
    </section>
  );
}
