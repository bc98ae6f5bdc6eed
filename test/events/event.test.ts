import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { aboutOf, organizationAbout, QUIET_TYPES } from '../../src/events/event.ts';
import { isRepositoryName } from '../../src/oci/name.ts';
import { EVENT_TYPES } from '../../src/vocabulary/event-types.ts';

const names = fc.stringMatching(/^[a-z0-9]{1,4}([._-][a-z0-9]{1,4}){0,3}$/);

describe('the subject of an event', () => {
  test.each([
    ['acme/api', 'acme'],
    ['acme/deep/er', 'acme'],
    ['organization:acme', 'acme'],
    ['myfirstapp', ''],
    ['', ''],
  ])('%j belongs to the organization %j', (about, organization) => {
    expect(organizationAbout(about)).toBe(organization);
  });
});

describe('an event about', () => {
  test.each([
    ['user:alice', ''],
    ['ci:deploy', ''],
    ['registry', ''],
    ['organization:acme', 'organization:acme'],
    ['team:acme/dev', 'organization:acme'],
    ['robot:acme/ci', 'organization:acme'],
    ['ci:acme/deploy', 'organization:acme'],
    ['repository:acme/api', 'acme/api'],
    ['repository:myfirstapp', 'myfirstapp'],
    // The subject `robot:acme/` stands for all robots of the organization.
    ['robot:acme/', 'organization:acme'],
  ])('%s is about %j', (subject, about) => {
    expect(aboutOf(subject)).toBe(about);
  });

  test('the subject of an organization is never that of a repository', () => {
    fc.assert(fc.property(names, (name) => !isRepositoryName(aboutOf(`organization:${name}`))));
  });
});

test('only mounts send no queue message, and no event type occurs twice', () => {
  expect(QUIET_TYPES).toEqual(['blob.mounted']);
  expect(new Set(EVENT_TYPES).size).toBe(EVENT_TYPES.length);
});
