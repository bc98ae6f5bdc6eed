/** The page that shows the link of an invitation. */
import type { FC } from 'hono/jsx';
import type { Invited } from '../../app/people.ts';
import { originOf, type RequestContext } from '../context.ts';
import { Secret } from './keys.tsx';
import { Page } from './page.tsx';
import { Notice } from './parts/form.tsx';
import { When } from './parts/text.tsx';

interface Props {
  c: RequestContext;
  invited: Invited;
  back: string;
  section: 'organizations' | 'account';
}

/**
 * Shows the link. The first person who opens it becomes the user. Browsers do not send the part after the `#`, so no log
 * contains it.
 */
export const InvitationLink: FC<Props> = ({ c, invited: { user, invitation }, back, section }) => (
  <Page c={c} title={`Invitation of ${user.name}`} section={section}>
    <section class="narrow">
      <h1>Invitation of {user.name}</h1>
      <div class="panel">
        {invitation === null ? (
          <p>{user.name} has joined already, and needs no link.</p>
        ) : (
          <>
            <Notice tone="warn">
              <strong>Send this link to {user.name} only.</strong> Whoever accepts it first becomes the user.
            </Notice>
            <Secret text={`${originOf(c)}/join#${invitation.token}`} label="Copy the link" />
            <p>
              It works once, and expires <When at={invitation.expiresAt} />. It gives {user.name} an access key; nobody chooses
              a password.
            </p>
          </>
        )}
        <p>
          <a href={back}>Done</a>
        </p>
      </div>
    </section>
  </Page>
);
