/** Which events a subscription gets: every part of its filter alone, and all of them together. */
import { describe, expect, test } from 'vitest';
import type { RecordedEvent } from '../../src/events/event.ts';
import { EVENT_TYPES, type EventType } from '../../src/vocabulary/event-types.ts';
import { FORMAT_NAMES, type FormatName } from '../../src/vocabulary/webhooks.ts';
import { defaultTypes, type Filter, hears, scopesOf } from '../../src/webhooks/filter.ts';
import { FORMATS } from '../../src/webhooks/formats/all.ts';

const ALL: Filter = { types: null, repositories: null, tags: null };
const pushed: RecordedEvent = {
  id: 7,
  at: 1700000000,
  type: 'tag.created',
  about: 'acme/tools/api',
  sequence: 3,
  target: { tag: 'v1.2', digest: 'sha256:0' },
  by: { subject: 'user:alice' },
};
const joined: RecordedEvent = { ...pushed, type: 'member.changed', about: 'organization:acme', target: { user: 'user:bob' } };
const global: RecordedEvent = { ...pushed, type: 'user.invited', about: '', target: { subject: 'user:bob' } };
const flat: RecordedEvent = { ...pushed, about: 'acme' };

const listening = (scope: string, filter: Partial<Filter> = {}, format: FormatName = 'native') => ({
  scope,
  filter: { ...ALL, ...filter },
  format,
});

describe('scopes', () => {
  test.each([
    [pushed, ['registry', 'organization:acme', 'repository:acme/tools/api']],
    [joined, ['registry', 'organization:acme']],
    [global, ['registry']],
    // A repository without a namespace does not belong to the organization with the same name.
    [flat, ['registry', 'repository:acme']],
  ])('an event about "$about" is heard in $1', (event, scopes) => expect(scopesOf(event)).toEqual(scopes));

  test.each([
    ['organization:acm', false],
    ['organization:acme', true],
    ['organization:acme/tools', false],
    ['repository:acme/tools', false],
    ['repository:acme/tools/api', true],
    ['repository:acme/tools/api2', false],
    ['registry', true],
    ['', false],
  ])('whoever listens in "%s" hears it: %s', (scope, heard) => expect(hears(listening(scope), pushed)).toBe(heard));

  test('events of an organization are not for its repositories', () => {
    expect(hears(listening('repository:acme/tools/api'), joined)).toBe(false);
    expect(hears(listening('repository:organization:acme'), joined)).toBe(false);
  });
});

describe('filters', () => {
  test.each<[Partial<Filter>, RecordedEvent, boolean]>([
    [{ types: ['tag.created'] }, pushed, true],
    [{ types: ['tag.moved', 'tag.deleted'] }, pushed, false],
    [{ types: [] }, pushed, false],
    [{ tags: ['v1*'] }, { ...flat, type: 'repository.deleted', target: { tags: ['main', 'v1.2'] } }, true],
    [{ tags: ['v2*'] }, { ...flat, type: 'repository.deleted', target: { tags: ['main', 'v1.2'] } }, false],
    [{ tags: ['v2*'] }, { ...flat, type: 'repository.deleted', target: { tags: ['main'], hasMoreTags: true } }, true],
    [{ tags: ['v2*'] }, { ...flat, type: 'repository.deleted', target: { tags: [] } }, false],
    [{ types: ['*'] }, pushed, true],
    [{ types: ['*'] }, joined, true],
    [{ types: defaultTypes('native') }, pushed, true],
    [{ types: defaultTypes('native') }, joined, false],
    [{ repositories: ['acme/*'] }, pushed, true],
    [{ repositories: ['acme/api', '*/api'] }, pushed, true],
    [{ repositories: ['acme/tools'] }, pushed, false],
    [{ repositories: ['*'] }, joined, false],
    [{ repositories: ['*'] }, global, false],
    [{ repositories: [] }, pushed, false],
    [{ tags: ['v1.*'] }, pushed, true],
    [{ tags: ['v1', 'V1.2'] }, pushed, false],
    [{ tags: ['*'] }, { ...pushed, type: 'manifest.pushed', target: { digest: 'sha256:0' } }, false],
    [{ tags: ['*'] }, { ...pushed, target: { tag: 5 } }, false],
    [{ tags: ['v1.2'], repositories: ['acme/*'], types: ['tag.created'] }, pushed, true],
    [{ tags: ['v1.2'], repositories: ['other/*'], types: ['tag.created'] }, pushed, false],
  ])('%j', (filter, event, heard) => expect(hears(listening('registry', filter), event)).toBe(heard));
});

describe('formats', () => {
  test.each(FORMAT_NAMES)('%s: only types that the format can express, and always tests', (format) => {
    const heard = EVENT_TYPES.filter((type) => hears(listening('registry', {}, format), { ...pushed, type }));
    const { speaksOf, onlyIfNamed } = FORMATS[format];
    expect(heard).toEqual(EVENT_TYPES.filter((type) => speaksOf(type) && !onlyIfNamed.includes(type)));
    expect(heard).toContain('tag.created');
  });

  test.each([
    ['docker-hub', true],
    ['distribution', true],
    ['harbor', true],
    ['eventbridge', true],
    ['native', false],
    ['slack', false],
  ] as const)('%s hears of a push that changes nothing, without naming it: %s; and by its name always', (format, heard) => {
    const again: RecordedEvent = { ...pushed, type: 'tag.pushed' };
    expect(hears(listening('registry', {}, format), again)).toBe(heard);
    expect(hears(listening('registry', { tags: ['v*'] }, format), again)).toBe(heard);
    expect(hears(listening('registry', { types: ['tag.pushed'] }, format), again)).toBe(true);
    expect(hears(listening('registry', { types: ['tag.created', 'tag.moved'] }, format), again)).toBe(false);
  });

  describe.each(FORMAT_NAMES)('%s', (format) => {
    const hex = 'a'.repeat(64);
    const names = ['', '.sig', '.att', '.sbom'].map((suffix) => `sha256-${hex}${suffix}`);
    test.each([...names, `sha512-${hex}.sig`])('a push of %s, which belongs to an image, matches only if requested', (tag) => {
      const heard = (type: EventType, filter: Partial<Filter>) =>
        hears(listening('registry', filter, format), {
          ...pushed,
          type,
          target: { tag, digest: `sha256:${'b'.repeat(64)}` },
        });
      for (const type of ['tag.created', 'tag.moved', 'tag.pushed'] as const) {
        expect(heard(type, { types: defaultTypes(format) })).toBe(false);
        expect(heard(type, { types: [type], repositories: ['acme/*'] })).toBe(false);
        expect(heard(type, { types: [type], tags: ['v*'] })).toBe(false);
        expect(heard(type, { types: ['*'] })).toBe(true);
        expect(heard(type, { types: [type], tags: ['sha*'] })).toBe(true);
      }
      // A webhook created before types had a default keeps its types.
      expect(heard('tag.created', { types: null })).toBe(true);
    });

    test('an image that is tagged with its own digest is an image', () => {
      const target = { tag: `sha256-${hex}`, digest: `sha256:${hex}` };
      expect(hears(listening('registry', { types: defaultTypes(format) }, format), { ...pushed, target })).toBe(true);
    });
  });

  test('a filter with an unknown part matches nothing, and breaks nothing', () => {
    for (const name of ['carrier-pigeon', 'toString', '__proto__']) {
      expect(hears(listening('registry', {}, name as FormatName), pushed)).toBe(false);
    }
  });
});

test.each(FORMAT_NAMES)('%s: a webhook without types gets pushes, and never its own changes', (format) => {
  const heard = EVENT_TYPES.filter((type) => {
    return hears(listening('registry', { types: defaultTypes(format) }, format), { ...pushed, type });
  });
  const unchanged = format === 'native' || format === 'slack' ? [] : ['tag.pushed'];
  expect(heard).toEqual(['tag.created', 'tag.moved', ...unchanged]);
});
