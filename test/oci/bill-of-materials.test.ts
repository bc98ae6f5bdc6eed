/** Reading of SBOMs, statements and envelopes, also of wrong and hostile ones. */
import { describe, expect, test } from 'vitest';
import { attachmentKind } from '../../src/oci/attachment.ts';
import { countLicenses, readAttachment } from '../../src/oci/bill-of-materials.ts';

const SPDX = {
  ...{ spdxVersion: 'SPDX-2.3', name: 'shop' },
  packages: [
    { name: 'a', versionInfo: '1', licenseConcluded: 'NOASSERTION', licenseDeclared: 'MIT' },
    { name: 'b', versionInfo: '2', licenseConcluded: 'Apache-2.0' },
    { name: 'c' },
  ],
};
const CYCLONEDX = {
  ...{ bomFormat: 'CycloneDX', specVersion: '1.6', metadata: { component: { name: 'shop' } } },
  components: [
    { group: 'org.acme', name: 'a', version: '1', licenses: [{ license: { id: 'MIT' } }, { license: { name: 'Own' } }] },
    { name: 'b', licenses: [{ expression: 'MIT OR ISC' }] },
  ],
};
const statement = (predicateType: string, predicate: unknown) => ({
  _type: 'https://in-toto.io/Statement/v1',
  predicateType,
  predicate,
});
const read = (document: unknown) => readAttachment(JSON.stringify(document));

describe('a bill of materials', () => {
  test('of SPDX is read', () => {
    expect(read(SPDX).bill).toEqual({
      ...{ format: 'SPDX 2.3', name: 'shop', isCut: false },
      packages: [
        { name: 'a', version: '1', license: 'MIT' },
        { name: 'b', version: '2', license: 'Apache-2.0' },
        { name: 'c', version: '', license: '' },
      ],
    });
  });

  test('of CycloneDX is read', () => {
    expect(read(CYCLONEDX).bill).toMatchObject({
      ...{ format: 'CycloneDX 1.6', name: 'shop' },
      packages: [
        { name: 'org.acme/a', version: '1', license: 'MIT AND Own' },
        { name: 'b', version: '', license: 'MIT OR ISC' },
      ],
    });
  });

  test('is found in a statement, in an envelope and in a bundle', () => {
    const inside = statement('https://spdx.dev/Document', SPDX);
    const envelope = { payloadType: 'application/vnd.in-toto+json', payload: btoa(JSON.stringify(inside)), signatures: [] };
    for (const document of [inside, envelope, { dsseEnvelope: envelope }, statement('x', { Data: SPDX })]) {
      expect(read(document).bill?.packages).toHaveLength(3);
    }
    expect(read(envelope).text).toContain('"spdxVersion": "SPDX-2.3"');
  });

  test('is counted by licence, the most frequent first', () => {
    const packages = ['MIT', 'ISC', 'MIT', ''].map((license) => ({ name: 'x', version: '', license }));
    expect(countLicenses(packages)).toEqual([
      ['MIT', 2],
      ['', 1],
      ['ISC', 1],
    ]);
  });

  test('with very many packages is cut', () => {
    const bill = read({ ...SPDX, packages: Array.from({ length: 10_001 }, () => ({ name: 'x' })) }).bill;
    expect([bill?.packages.length, bill?.isCut]).toEqual([10_000, true]);
  });
});

test('a provenance is a statement without packages', () => {
  expect(read(statement('https://slsa.dev/provenance/v1', {}))).toMatchObject({
    ...{ predicateType: 'https://slsa.dev/provenance/v1', bill: null },
  });
});

test.each([
  'no json',
  'null',
  '[]',
  '[['.repeat(10_000),
  '{"spdxVersion":"SPDX-2.3","packages":{"length":5}}',
  '{"spdxVersion":"SPDX-2.3","packages":[null,1,"x",[]]}',
  '{"bomFormat":"CycloneDX","components":[{"name":1,"licenses":{"a":1}}],"metadata":[]}',
  '{"payloadType":"x","payload":"%%%"}',
  '{"dsseEnvelope":{"payloadType":"x","payload":"bnVsbA=="}}',
  '{"predicateType":"x","predicate":"y"}',
])('the document %j is read without an error', (text) => {
  expect(readAttachment(text).text.length).toBeGreaterThan(0);
});

test.each([
  ['application/spdx+json', 'SBOM'],
  ['application/vnd.cyclonedx+xml', 'SBOM'],
  ['sha256-0.sbom', 'SBOM'],
  ['application/vnd.dev.cosign.simplesigning.v1+json', 'signature'],
  ['application/vnd.cncf.notary.signature', 'signature'],
  ['sha256-0.sig', 'signature'],
  ['sha256-0.att', 'attestation'],
  ['application/vnd.in-toto+json', 'attestation'],
  ['application/vnd.dev.sigstore.bundle.v0.3+json', 'attestation'],
  ['https://slsa.dev/provenance/v1', 'attestation'],
  ['application/vnd.acme.notes', 'other'],
])('%s is of the kind %s', (type, kind) => {
  expect(attachmentKind(type)).toBe(kind);
});
