/**
 * The page of the reader's own account: the user, the user's organizations and invitations, and the appearance of the console.
 */

import { type DescribedCaller, describeCaller } from '../../../app/login.ts';
import { acceptMembership, declineInvitation, listOwnInvitations, type MemberInvitation } from '../../../app/organizations.ts';
import { hasAccess, providerName } from '../../../app/provider-sign-in.ts';
import { loginNameOf, nameOf, parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { organizationAt, userAt } from '../parts/addresses.ts';
import { Checkbox, Choice, Notice, type Refused, sentence } from '../parts/form.tsx';
import { Chip, Principal, When } from '../parts/text.tsx';
import { hasKeys, setPreferences, THEMES, themeOf } from '../preferences.ts';
import { statusOf, tried } from '../refused.tsx';

const PAGE_SIZE = 50;

export const ownPages = new Hono<AppEnv>()
  .get('/account', async (c) => render(c, <Account {...(await accountOf(c))} />))
  .post('/account/appearance', async (c) => {
    const form = await readForm(c);
    const theme = THEMES.find((name) => name === form.text('theme')) ?? 'system';
    const response = seeOther('/account', 'saved');
    setPreferences(c, response.headers, { theme, keys: form.has('keys') });
    return response;
  })
  .post('/account/invitations/:organization', async (c) => {
    const form = await readForm(c);
    const organization = parseName(c.req.param('organization'));
    if (!form.has('accept')) {
      await declineInvitation(callOf(c), organization);
      return seeOther('/account', 'declined');
    }
    const outcome = await tried(form, () => acceptMembership(callOf(c), organization));
    if ('done' in outcome) return seeOther(organizationAt(organization), 'joined');
    const { refused } = outcome;
    return render(c, <Account {...(await accountOf(c))} refused={refused} />, statusOf(refused.refusal));
  });

interface AccountProps {
  c: RequestContext;
  caller: DescribedCaller;
  invitations: MemberInvitation[];
  refused?: Refused;
}

async function accountOf(c: RequestContext): Promise<AccountProps> {
  const caller = describeCaller(callOf(c));
  // A narrowed key cannot accept invitations, so none are shown.
  const { items } = caller.credential.narrowed
    ? { items: [] }
    : await listOwnInvitations(callOf(c), { after: '', limit: PAGE_SIZE });
  return { c, caller, invitations: items };
}

function Account({ c, caller, invitations, refused }: AccountProps) {
  return (
    <Page c={c} title="Account" section="account" json="/api/v1/me">
      <header class="subject">
        <h1>{loginNameOf(caller.subject)}</h1>
        {caller.administrator ? <Chip tone="good">administrator</Chip> : null}
        {caller.credential.narrowed || !caller.subject.startsWith('user:') ? null : (
          <a class="button" href={userAt(nameOf(caller.subject), 'usage')}>
            Usage
          </a>
        )}
        {caller.credential.narrowed ? <Chip tone="warn">signed in with a limited key</Chip> : null}
      </header>
      {refused ? <Notice tone="bad">{sentence(refused.refusal.message)}</Notice> : null}
      {invitations.length === 0 ? null : <Invitations invitations={invitations} />}
      <div class="cards spaced">
        <Memberships caller={caller} />
        <Credentials c={c} />
        <Appearance c={c} />
        <SignOut />
      </div>
    </Page>
  );
}

function Invitations({ invitations }: { invitations: MemberInvitation[] }) {
  return (
    <section>
      <h2>Invitations</h2>
      {invitations.map(({ organization, role, invitedBy, expiresAt }) => (
        <form method="post" action={`/account/invitations/${organization}`} class="notice plain invitation">
          <p>
            <Principal subject={invitedBy} /> invites you to <strong>{organization}</strong> as {role}. It expires{' '}
            <When at={expiresAt} />.
          </p>
          <p class="actions">
            <button type="submit" name="accept" value="yes" class="main" aria-label={`Join ${organization}`}>
              Join
            </button>
            <button type="submit" name="decline" value="yes" aria-label={`Decline the invitation of ${organization}`}>
              Decline
            </button>
          </p>
        </form>
      ))}
    </section>
  );
}

function Memberships({ caller: { organizations, teams } }: { caller: DescribedCaller }) {
  return (
    <section class="panel">
      <h2>Organizations</h2>
      {organizations.length === 0 ? <p class="soft">You belong to none.</p> : null}
      <ul class="lines">
        {organizations.map(({ name, role }) => (
          <li>
            <a href={organizationAt(name)}>{name}</a> <Chip>{role}</Chip>
          </li>
        ))}
      </ul>
      {teams.length === 0 ? null : (
        <>
          <h3>Teams</h3>
          <ul class="lines">
            {teams.map((team) => (
              <li>
                <a href={organizationAt(team.replace('/', '/teams/'))}>{team}</a>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function Credentials({ c }: { c: RequestContext }) {
  return (
    <section class="panel">
      <h2>Passwords</h2>
      <p>An access key is your password for docker, for this console and for the API. You can have one for each computer.</p>
      <p class="actions">
        <a class="button" href="/account/keys">
          Access keys
        </a>
        <a class="button" href="/account/logins">
          Log in with docker
        </a>
        {providerName(c.env) !== null || hasAccess(c.env) ? (
          <a class="button" href="/account/identities">
            Sign-in providers
          </a>
        ) : null}
      </p>
    </section>
  );
}

function Appearance({ c }: { c: RequestContext }) {
  return (
    <section class="panel">
      <h2>This browser</h2>
      <form method="post" action="/account/appearance">
        <Choice
          name="theme"
          legend="Colours"
          value={themeOf(c)}
          options={[
            ['system', 'As the system', ''],
            ['light', 'Light', ''],
            ['dark', 'Dark', ''],
          ]}
        />
        <Checkbox name="keys" label="Keys" hint="Single keys search and move, such as / and j." checked={hasKeys(c)} />
        <p class="actions">
          <button type="submit">Save</button>
        </p>
      </form>
    </section>
  );
}

function SignOut() {
  return (
    <section class="panel">
      <h2>Sign out</h2>
      <p>Everywhere ends the sessions of all browsers and all logins of docker. Access keys keep working.</p>
      <form method="post" action="/sign-out" class="actions">
        <button type="submit">Sign out here</button>
        <button type="submit" name="everywhere" value="yes" class="danger">
          Sign out everywhere
        </button>
      </form>
    </section>
  );
}
