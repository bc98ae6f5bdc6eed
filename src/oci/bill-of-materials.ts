/**
 * Reads content that is attached to an image: in-toto statements, also inside an envelope (DSSE) or a Sigstore bundle, and
 * SBOMs in the JSON forms of SPDX and CycloneDX. Clients can upload any document, and signatures are not verified. This module
 * does no I/O.
 */

export interface Package {
  name: string;
  version: string;
  license: string;
}

export interface BillOfMaterials {
  format: string;
  /** The name of the described software, or the empty string if the SBOM does not state it. */
  name: string;
  packages: Package[];
  /** True if the SBOM has more packages than are read. */
  isCut: boolean;
}

export interface Attachment {
  /**
   * The type of the in-toto statement, such as `https://slsa.dev/provenance/v1`. `null` if the document is no in-toto
   * statement.
   */
  predicateType: string | null;
  bill: BillOfMaterials | null;
  /** The document as text. If it was inside an envelope, this is the decoded content of the envelope. */
  text: string;
}

const PACKAGES_MAX = 10_000;
const LICENSES_MAX = 5;
/** The maximum number of characters of a document that is indented for display. */
const INDENTED_MAX = 100_000;

type Json = Record<string, unknown>;

export function readAttachment(sent: string): Attachment {
  const { document, text } = unwrapped(sent);
  if (document === null) return { predicateType: null, bill: null, text };
  const predicateType = typeof document.predicateType === 'string' ? document.predicateType : null;
  const predicate = predicateType === null ? document : (object(document.predicate) ?? {});
  // Some clients put the SBOM into a member `Data` of the predicate.
  const bill = billIn(predicate) ?? billIn(object(predicate.Data) ?? {});
  return { predicateType, bill, text: text.length > INDENTED_MAX ? text : JSON.stringify(document, null, 2) };
}

/** Returns the document inside an envelope, or the document itself if there is no envelope. */
function unwrapped(text: string): { document: Json | null; text: string } {
  const document = object(parsed(text));
  const envelope = object(document?.dsseEnvelope) ?? document;
  if (typeof envelope?.payload !== 'string' || typeof envelope.payloadType !== 'string') return { document, text };
  const inside = decoded(envelope.payload);
  const statement = object(parsed(inside));
  return statement === null ? { document, text } : { document: statement, text: inside };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function decoded(base64: string): string {
  try {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return '';
  }
}

function billIn(document: Json): BillOfMaterials | null {
  if (typeof document.spdxVersion === 'string') return spdx(document);
  return document.bomFormat === 'CycloneDX' ? cycloneDx(document) : null;
}

function spdx(document: Json): BillOfMaterials {
  const packages = list(document.packages);
  return {
    format: string(document.spdxVersion).replace('SPDX-', 'SPDX '),
    name: string(document.name),
    packages: packages.slice(0, PACKAGES_MAX).map((item) => {
      const { name, versionInfo, licenseConcluded, licenseDeclared } = object(item) ?? {};
      const license = [licenseConcluded, licenseDeclared].map(string).find((one) => !['', 'NOASSERTION', 'NONE'].includes(one));
      return { name: string(name), version: string(versionInfo), license: license ?? '' };
    }),
    isCut: packages.length > PACKAGES_MAX,
  };
}

function cycloneDx(document: Json): BillOfMaterials {
  const components = list(document.components);
  const version = string(document.specVersion);
  return {
    format: version === '' ? 'CycloneDX' : `CycloneDX ${version}`,
    name: string(object(object(document.metadata)?.component)?.name),
    packages: components.slice(0, PACKAGES_MAX).map((item) => {
      const { group, name, version: of, licenses } = object(item) ?? {};
      const whole = [string(group), string(name)].filter(Boolean).join('/');
      return { name: whole, version: string(of), license: licensesIn(licenses) };
    }),
    isCut: components.length > PACKAGES_MAX,
  };
}

function licensesIn(licenses: unknown): string {
  const names = list(licenses)
    .slice(0, LICENSES_MAX)
    .map((item) => {
      const { expression, license } = object(item) ?? {};
      return string(expression) || string(object(license)?.id) || string(object(license)?.name);
    });
  return names.filter(Boolean).join(' AND ');
}

function object(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function string(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/**
 * Counts the packages by licence. Returns the licences with the most packages first. The empty string stands for packages that
 * state no licence.
 */
export function countLicenses(packages: readonly Package[]): [license: string, count: number][] {
  const counts = new Map<string, number>();
  for (const { license } of packages) counts.set(license, (counts.get(license) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}
