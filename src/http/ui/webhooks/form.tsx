/** The fields of a webhook's form, and the functions that read them. */
import type { FC } from 'hono/jsx';
import { samplePayload } from '../../../app/payloads.ts';
import type { Scope, Webhook } from '../../../app/subscriptions.ts';
import type { NewWebhook } from '../../../contract/webhooks.ts';
import { invalidInput } from '../../../vocabulary/refusal.ts';
import { EVERY_TYPE, FORMAT_NAMES, type FormatName } from '../../../vocabulary/webhooks.ts';
import { callOf, type RequestContext } from '../../context.ts';
import type { Form } from '../forms.ts';
import { Conflict } from '../parts/conflict.tsx';
import { Checkbox, Choice, Input, type Refused, TextArea } from '../parts/form.tsx';
import { wordsIn } from '../rights.tsx';
import { choiceOf, FORMAT_WORDS, TYPES } from './words.tsx';

type Sent = Pick<NewWebhook, 'format' | 'types' | 'repositories' | 'tags' | 'description' | 'headers'>;

/** Returns what the form says about a webhook, except the URL. The operation checks it. @throws request-invalid */
export function webhookFrom(form: Form, scope: Scope): Sent {
  const headers = form.raw('headers').trim();
  return {
    format: form.text('format') as FormatName,
    types: typesIn(form),
    ...(scope.startsWith('repository:') ? {} : { repositories: listIn(form, 'repositories') }),
    tags: listIn(form, 'tags'),
    description: form.text('description'),
    ...(headers === '' ? {} : { headers: headersIn(headers) }),
  };
}

function typesIn(form: Form): NewWebhook['types'] {
  const choice = form.text('events');
  if (choice === 'all') return [EVERY_TYPE];
  return choice === 'chosen' ? (form.all('types') as NonNullable<NewWebhook['types']>) : null;
}

function listIn(form: Form, field: string): string[] | null {
  const words = wordsIn(form.raw(field));
  return words.length === 0 ? null : words;
}

function headersIn(text: string): Record<string, string> {
  const pairs = text.split('\n').filter((line) => line.trim() !== '');
  return Object.fromEntries(
    pairs.map((line) => {
      const [, name, value] = /^([^:]+):(.*)$/.exec(line) ?? [];
      if (name === undefined) throw invalidInput({ at: 'headers', message: 'write one header a line, as Name: value' });
      return [name.trim(), (value ?? '').trim()];
    }),
  );
}

interface FieldsProps {
  c: RequestContext;
  scope: Scope;
  /** The stored webhook. Absent for a new one. */
  webhook?: Webhook;
  refused?: Refused | undefined;
}

export const WebhookFields: FC<FieldsProps> = ({ c, scope, webhook, refused }) => {
  const filter = webhook?.filter;
  return (
    <>
      <Input
        name="url"
        label={webhook ? 'New URL' : 'URL'}
        type="url"
        hint={
          webhook
            ? 'Leave it empty to keep the present one. A URL of another host removes the headers: send them again.'
            : 'https and a host on the public internet. It may contain a secret: it is stored encrypted.'
        }
        required={!webhook}
        max={2000}
        mono
        refused={refused}
      />
      <Input
        name="description"
        label="Description"
        hint="What it is for, in up to 200 characters."
        value={webhook?.description ?? ''}
        max={200}
        refused={refused}
      />
      <Events webhook={webhook} refused={refused} />
      {scope.startsWith('repository:') ? null : (
        <Patterns name="repositories" label="Only these repositories" value={filter?.repositories} refused={refused} />
      )}
      <Patterns name="tags" label="Only these tags" value={filter?.tags} refused={refused} />
      <Choice
        name="format"
        legend="Format"
        value={refused?.value('format') || (webhook?.format ?? 'native')}
        options={FORMAT_NAMES.map((name) => [name, ...FORMAT_WORDS[name]] as const)}
      />
      <Samples c={c} scope={scope} />
      <Headers webhook={webhook} refused={refused} />
    </>
  );
};

const EVENTS_IN_WORDS: Record<string, string> = { pushes: 'pushes', all: 'everything' };

/** What somebody else has saved since the form was opened. Headers are secret, so they are not compared. */
export const WebhookConflict: FC<{ webhook: Webhook; refused: Refused | undefined }> = ({ webhook, refused }) => {
  const { description, filter, format, url } = webhook;
  const value = (name: string) => refused?.value(name) ?? '';
  const typedTypes = EVENTS_IN_WORDS[value('events')] ?? refused?.all('types').join(', ');
  const types = EVENTS_IN_WORDS[choiceOf(webhook)] ?? filter.types?.join(', ') ?? '';
  const patterns = (name: 'repositories' | 'tags', label: string) => ({
    label,
    name,
    typed: wordsIn(value(name)).join(' '),
    now: filter[name]?.join(' ') ?? '',
  });
  const formatText = (name: string) => FORMAT_WORDS[name as FormatName]?.[0] ?? name;
  return (
    <Conflict
      refused={refused}
      fields={[
        ...(value('url') === '' ? [] : [{ label: 'URL', name: 'url', now: url ?? '' }]),
        { label: 'Description', name: 'description', now: description },
        { label: 'Events', name: 'events', typed: typedTypes ?? '', now: types },
        ...(webhook.scope.startsWith('repository:') ? [] : [patterns('repositories', 'Only these repositories')]),
        patterns('tags', 'Only these tags'),
        { label: 'Format', name: 'format', typed: formatText(value('format')), now: formatText(format) },
      ]}
    />
  );
};

const Patterns: FC<{ name: string; label: string; value: string[] | null | undefined; refused: Refused | undefined }> = ({
  name,
  label,
  value,
  refused,
}) => (
  <Input
    name={name}
    label={label}
    hint={`Names or patterns such as ${name === 'tags' ? 'v*' : 'acme/*'}, separated by spaces. Empty: all.`}
    value={value?.join(' ') ?? ''}
    mono
    refused={refused}
  />
);

const Headers: FC<{ webhook: Webhook | undefined; refused: Refused | undefined }> = ({ webhook, refused }) => {
  const names = webhook?.headerNames ?? [];
  const present = names.length === 0 ? '' : ` Present headers, which stay if this is empty: ${names.join(', ')}.`;
  return (
    <TextArea
      name="headers"
      label="Headers"
      hint={`One a line, such as Authorization: Bearer … They are stored encrypted and never shown again.${present}`}
      rows={2}
      mono
      refused={refused}
    />
  );
};

const EVENT_CHOICES = [
  ['pushes', 'Pushes', 'A tag is created or moved. This is what deployments need.'],
  ['all', 'Everything', 'All that the format can express.'],
  ['chosen', 'Only these', 'The types that are checked below.'],
] as const;

const Events: FC<{ webhook: Webhook | undefined; refused: Refused | undefined }> = ({ webhook, refused }) => {
  const choice = refused?.value('events') || (webhook ? choiceOf(webhook) : 'pushes');
  const types: readonly string[] = refused?.all('types') ?? webhook?.filter.types ?? [];
  const kinds = Map.groupBy(TYPES, (type) => type.slice(0, type.indexOf('.')));
  return (
    <>
      <Choice name="events" legend="Events" value={choice} options={EVENT_CHOICES} />
      <details class="more" open={choice === 'chosen'}>
        <summary>Types of events</summary>
        <div class="kinds">
          {[...kinds].map(([kind, all]) => (
            <fieldset>
              <legend>{kind}</legend>
              {all.map((type) => (
                <Checkbox name="types" value={type} label={type.slice(kind.length + 1)} checked={types.includes(type)} />
              ))}
            </fieldset>
          ))}
        </div>
      </details>
    </>
  );
};

const Samples: FC<{ c: RequestContext; scope: Scope }> = ({ c, scope }) => {
  const [kind, name] = scope.split(':');
  const repository = kind === 'repository' ? (name ?? '') : `${name ?? 'acme'}/api`;
  return (
    <details class="more">
      <summary>What each format sends when a tag is pushed</summary>
      {FORMAT_NAMES.map((format) => {
        const { contentType, body } = samplePayload(callOf(c), format, repository);
        return (
          <>
            <p class="strong">{FORMAT_WORDS[format][0]}</p>
            <p class="hint">Content-Type: {contentType}</p>
            <PayloadText body={body} label={`What ${FORMAT_WORDS[format][0]} sends`} />
          </>
        );
      })}
    </details>
  );
};

/** The body of a delivery. JSON is indented. */
export const PayloadText: FC<{ body: string; label: string }> = ({ body, label }) => (
  <section class="code" aria-label={label} tabindex={0}>
    <pre>{JSON.stringify(JSON.parse(body), null, 2)}</pre>
  </section>
);
