/** The pages of an organization's robots, and the page of one robot: its keys and its rights. */

import { type AccessKey, createRobotKey, listRobotKeys } from '../../../app/keys.ts';
import { deleteRobot, getRobot, listRobots, putRobot, type Robot } from '../../../app/organizations.ts';
import { getPolicy, type Policy } from '../../../app/policies.ts';
import { loginNameOf, parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { confirmedCall } from '../confirmed.tsx';
import { type Form, named, readForm, versionIn } from '../forms.ts';
import { KeyTable, MadeKey, NewKeyForm, newKeyIn, onceIn } from '../keys.tsx';
import { render, seeOther } from '../page.tsx';
import { organizationAt } from '../parts/addresses.ts';
import { ActionForm, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, RowName, Table } from '../parts/table.tsx';
import { Chip, Foreign, When } from '../parts/text.tsx';
import { statusOf, tried, triedSignIn } from '../refused.tsx';
import { OrganizationPage, organizationIn } from './frame.tsx';
import {
  answerDeletion,
  answerPolicy,
  CreateForm,
  DeletionForm,
  DescriptionForm,
  nextOf,
  partAt,
  shortName,
  subjectOf,
} from './part.tsx';
import { PolicyForms } from './policy.tsx';

const PAGE_SIZE = 50;

const ROBOTS = '/organizations/:organization/robots';
const ROBOT = `${ROBOTS}/:robot`;

export const robotPages = new Hono<AppEnv>()
  .get(ROBOTS, async (c) => render(c, <Robots {...(await robotsIn(c))} />))
  .post(ROBOTS, async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => {
      const robot = `robot:${organizationIn(c)}/${parseName(form.text('name'))}`;
      const create = () => putRobot(callOf(c), robot, { description: form.text('description') }, 0);
      return named('name', 'there is a robot of this name already: nothing was created', create, 'version-mismatch');
    });
    if ('done' in outcome) return seeOther(partAt(outcome.done.robot.subject), 'created');
    return render(c, <Robots {...(await robotsIn(c))} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  })
  .get(ROBOT, async (c) => render(c, <RobotView {...(await robotIn(c))} />))
  .post(ROBOT, (c) =>
    change(c, 'settings', (form) => {
      const disabled = form.has('disabled') ? { disabled: form.text('disabled') === 'true' } : {};
      const description = form.has('description') ? { description: form.text('description') } : {};
      return putRobot(callOf(c), subjectOf(c, 'robot'), { ...disabled, ...description }, versionIn(form));
    }),
  )
  .post(`${ROBOT}/keys`, async (c) => {
    const form = await readForm(c);
    const robot = subjectOf(c, 'robot');
    const outcome = await triedSignIn(form, async () =>
      createRobotKey(await confirmedCall(c, form), robot, newKeyIn(form), onceIn(form)),
    );
    if ('refused' in outcome) return refusedAt(c, 'keys', outcome.refused);
    return render(c, <MadeKey c={c} made={outcome.done} back={partAt(robot)} section="organizations" />);
  })
  .post(`${ROBOT}/policy`, (c) => answerPolicy(c, 'robot', (refused) => refusedAt(c, 'policy', refused)))
  .post(`${ROBOT}/deletion`, (c) =>
    answerDeletion(
      c,
      'robot',
      (subject) => deleteRobot(callOf(c), subject, null),
      (refused) => refusedAt(c, 'deletion', refused),
    ),
  );

type Part = 'settings' | 'keys' | 'policy' | 'deletion';

/** Runs the change of a form on the page of a robot, and shows the page again. */
async function change(c: RequestContext, part: Part, work: (form: Form) => Promise<unknown>): Promise<Response> {
  const form = await readForm(c);
  const outcome = await tried(form, () => work(form));
  return 'done' in outcome ? seeOther(partAt(subjectOf(c, 'robot')), 'saved') : refusedAt(c, part, outcome.refused);
}

async function refusedAt(c: RequestContext, part: Part, refused: Refused): Promise<Response> {
  return render(c, <RobotView {...(await robotIn(c))} refusals={{ [part]: refused }} />, statusOf(refused.refusal));
}

interface RobotsProps {
  c: RequestContext;
  organization: string;
  robots: Robot[];
  last: string | undefined;
  next: string | null;
  refused?: Refused;
}

async function robotsIn(c: RequestContext): Promise<RobotsProps> {
  const organization = organizationIn(c);
  const last = c.req.query('last');
  const page = await listRobots(callOf(c), organization, { after: last ?? '', limit: PAGE_SIZE });
  return { c, organization, robots: page.items, last, next: nextOf(page) };
}

const COLUMNS: Column<Robot>[] = [
  {
    head: 'Robot',
    cell: ({ subject, description }) => <RowName href={partAt(subject)} name={shortName(subject)} description={description} />,
  },
  { head: 'Logs in as', cell: ({ subject }) => <code>{loginNameOf(subject)}</code> },
  { head: 'State', cell: ({ disabled }) => (disabled ? <Chip tone="bad">disabled</Chip> : <Chip tone="good">active</Chip>) },
  { head: 'Created', cell: ({ createdAt }) => <When at={createdAt} /> },
];

function Robots({ c, organization, robots, last, next, refused }: RobotsProps) {
  return (
    <OrganizationPage c={c} organization={organization} tab="robots" json="robots">
      <CreateForm organization={organization} kind="robot" refused={refused} />
      {robots.length === 0 ? (
        <Empty title="No robots yet">
          <p>A robot is an account for a program, such as a deployment. It logs in with keys of its own.</p>
          <p>
            CI jobs of GitHub, GitLab and others need no robot: use a{' '}
            <a href={organizationAt(organization, 'trust-rules')}>trust rule</a>.
          </p>
        </Empty>
      ) : (
        <Table caption={`Robots of ${organization}`} columns={COLUMNS} items={robots} />
      )}
      <Pager path={organizationAt(organization, 'robots')} query={{}} last={last} next={next} />
    </OrganizationPage>
  );
}

interface RobotProps {
  c: RequestContext;
  robot: Robot;
  keys: AccessKey[];
  last: string | undefined;
  next: string | null;
  policy: Policy;
  refusals?: Partial<Record<Part, Refused>>;
}

async function robotIn(c: RequestContext): Promise<RobotProps> {
  const call = callOf(c);
  const subject = subjectOf(c, 'robot');
  const last = c.req.query('last');
  const [robot, { items, more }, policy] = await Promise.all([
    getRobot(call, subject),
    listRobotKeys(call, subject, { after: last ?? '', limit: PAGE_SIZE }),
    getPolicy(call, subject),
  ]);
  return { c, robot, keys: items, last, next: more ? (items.at(-1)?.id ?? null) : null, policy };
}

function RobotView({ c, robot, keys, last, next, policy, refusals = {} }: RobotProps) {
  const organization = organizationIn(c);
  const name = shortName(robot.subject);
  const { disabled, description, subject } = robot;
  return (
    <OrganizationPage c={c} organization={organization} tab="robots" title={`${organization}/${name}`} json={`robots/${name}`}>
      <h2 class="sub">
        Robot {name} {disabled ? <Chip tone="bad">disabled</Chip> : null}
      </h2>
      <p class="soft">
        Logs in as <code>{loginNameOf(subject)}</code>. <Foreign text={description} />
      </p>
      <h3>Access keys</h3>
      {keys.length === 0 ? <p class="soft">None yet. The robot logs in with a key.</p> : <KeyTable keys={keys} />}
      <Pager path={partAt(subject)} query={{}} last={last} next={next} />
      {disabled ? null : (
        <details class="fold spaced" open={refusals.keys !== undefined}>
          <summary class="button main">New access key</summary>
          <div class="narrow-panel">
            <NewKeyForm c={c} action={partAt(subject, '/keys')} owner={subject} refused={refusals.keys} />
          </div>
        </details>
      )}
      <div class="cards wide spaced">
        <PolicyForms
          policy={policy}
          action={partAt(subject, '/policy')}
          organization={organization}
          whose="The robot"
          refused={refusals.policy}
        />
        <Settings robot={robot} refusals={refusals} />
      </div>
    </OrganizationPage>
  );
}

function Settings({ robot, refusals }: { robot: Robot; refusals: Partial<Record<Part, Refused>> }) {
  const version = String(robot.version);
  return (
    <section class="panel">
      <h2>Settings</h2>
      <DescriptionForm part={robot} refused={refusals.settings} />
      <p class="spaced">
        {robot.disabled ? 'None of its keys work.' : 'Disabling it stops all its keys, until it is enabled again.'}
      </p>
      <div class="actions">
        <ActionForm
          action={partAt(robot.subject)}
          fields={{ version, disabled: String(!robot.disabled) }}
          label={robot.disabled ? 'Enable the robot' : 'Disable the robot'}
          tone={robot.disabled ? 'main' : 'danger'}
        />
      </div>
      <DeletionForm
        subject={robot.subject}
        kind="robot"
        effect="Its keys end at once, and nobody can take its name again."
        refused={refusals.deletion}
      />
    </section>
  );
}
