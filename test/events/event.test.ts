import { describe, expect, test } from 'vitest';
import { EVENT_TYPES, organizationAbout, QUIET_TYPES } from '../../src/events/event.ts';

describe('what an event is about', () => {
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

test('the only event that nobody is woken for is that of a mount, and no type is there twice', () => {
  expect(QUIET_TYPES).toEqual(['blob.mounted']);
  expect(new Set(EVENT_TYPES).size).toBe(EVENT_TYPES.length);
});
