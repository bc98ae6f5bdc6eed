import { describe, expect, test } from 'vitest';
import { formatGrant, parseScopes, scopeFor } from '../../src/auth/scope.ts';

describe('a scope', () => {
  test('is what a token should contain', () => {
    expect(parseScopes(['repository:acme/api:pull,push'])).toEqual([
      { type: 'repository', name: 'acme/api', actions: ['pull', 'push'] },
    ]);
  });

  test('may be alone or with others in one text', () => {
    expect(parseScopes(['repository:a:pull repository:b:pull', 'registry:catalog:*']).map(formatGrant)).toEqual([
      'repository:a:pull',
      'repository:b:pull',
      'registry:catalog:*',
    ]);
  });

  test('of the same repository twice is merged, with the actions of both', () => {
    expect(parseScopes(['repository:a:pull', 'repository:a:push,pull', 'repository:b:pull'])).toEqual([
      { type: 'repository', name: 'a', actions: ['pull', 'push'] },
      { type: 'repository', name: 'b', actions: ['pull'] },
    ]);
  });

  test.each([
    ['of another type', 'plugin:acme/api:pull'],
    ['of another type with a class', 'secret(plugin):acme/api:pull'],
    ['of a class that is none', 'repository(Plugin):acme/api:pull'],
    ['of a class that is empty', 'repository():acme/api:pull'],
    ['of two classes', 'repository(a)(b):acme/api:pull'],
    ['of every repository', 'repository:*:pull'],
    ['of a host with a port', 'repository:host:5000/acme/api:pull'],
    ['of something else than the catalog', 'registry:users:*'],
    ['without actions', 'repository:acme/api'],
    ['of a name outside the grammar', 'repository:Acme:pull'],
    ['that is only a colon', ':'],
  ])('%s grants nothing', (_, scope) => {
    expect(parseScopes([scope])).toEqual([]);
  });

  test.each([
    ['of a class, which means nothing any more', 'repository(plugin):acme/api:pull,push'],
    ['with a comma at its end', 'repository:acme/api:pull,push,'],
    ['with an action that comes twice', 'repository:acme/api:pull,push,pull'],
    ['after the host and port of this registry', 'repository:registry.test:5000/acme/api:pull,push'],
    ['between spaces and tabs', '  repository:acme/api:pull \t\n repository:acme/api:push  '],
  ])('%s has one meaning', (_, scope) => {
    expect(parseScopes([scope], 'registry.test:5000')).toEqual([
      { type: 'repository', name: 'acme/api', actions: ['pull', 'push'] },
    ]);
  });

  test('may have a host without a port, like any other name', () => {
    const [grant] = parseScopes(['repository:registry.test/acme/api:pull'], 'registry.test');
    expect(grant?.name).toBe('registry.test/acme/api');
    expect(parseScopes(['repository:elsewhere.test:5000/acme/api:pull'], 'registry.test:5000')).toEqual([]);
  });

  test('with unknown actions keeps the known ones', () => {
    expect(parseScopes(['repository:a:__proto__,constructor,pull,fly'])).toEqual([
      { type: 'repository', name: 'a', actions: ['pull'] },
    ]);
  });

  test.each([
    ['pull', 'repository:a/b:pull'],
    ['push', 'repository:a/b:pull,push'],
    ['delete', 'repository:a/b:delete'],
    ['catalog', 'registry:catalog:*'],
  ] as const)('to %s is asked for as %s', (action, scope) => {
    expect(scopeFor(action, 'a/b')).toBe(scope);
  });
});
