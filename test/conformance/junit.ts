/**
 * Reads the JUnit reports of the official conformance suites: what was tested, the result and the reason. Not an XML parser:
 * it knows the two shapes that those suites write.
 */

export type Outcome = 'pass' | 'fail' | 'skip';

export interface Item {
  name: string;
  outcome: Outcome;
  /** The reason of a failure or skip, as one line; may be empty. */
  reason: string;
}

export interface Totals {
  pass: number;
  fail: number;
  skip: number;
}

const TESTCASE = /<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
const REASON_LENGTH = 400;

export function parseItems(xml: string): Item[] {
  return [...xml.matchAll(TESTCASE)].map(([, attributes = '', body = '']) => {
    const outcome = outcomeOf(attribute(attributes, 'status'));
    return { name: attribute(attributes, 'name'), outcome, reason: outcome === 'pass' ? '' : reasonIn(body) };
  });
}

export function count(items: readonly Item[]): Totals {
  const of = (outcome: Outcome) => items.filter((item) => item.outcome === outcome).length;
  return { pass: of('pass'), fail: of('fail'), skip: of('skip') };
}

/** The totals stated by the report. An item may contain several checks, so they can exceed the items. */
export function statedTotals(xml: string): Totals {
  const attributes = /<testsuite ([^>]*)>/.exec(xml)?.[1] ?? '';
  const number = (name: string) => Number(attribute(attributes, name) || 0);
  const fail = number('failures') + number('errors');
  const skip = number('skipped') + number('disabled');
  return { pass: number('tests') - fail - skip, fail, skip };
}

function outcomeOf(status: string): Outcome {
  if (status === 'passed') return 'pass';
  return status === 'skipped' || status === 'pending' ? 'skip' : 'fail';
}

function reasonIn(body: string): string {
  const text =
    /<(?:failure|error) message="([^"]*)"/.exec(body)?.[1] ??
    /<system-out>([\s\S]*?)<\/system-out>/.exec(body)?.[1] ??
    /skipping test:([\s\S]*?)<\/system-err>/.exec(body)?.[1] ??
    '';
  return unescapeXml(text).replace(/\s+/g, ' ').trim().slice(0, REASON_LENGTH);
}

function attribute(attributes: string, name: string): string {
  return unescapeXml(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1] ?? '');
}

function unescapeXml(text: string): string {
  const named: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return text
    .replace(/<!\[CDATA\[([\s\S]*?)\]\]>/g, '$1')
    .replace(/&(?:#x([0-9a-f]+)|#([0-9]+)|(lt|gt|quot|apos|amp));/gi, (_, hex?: string, decimal?: string, name = '') =>
      hex ? fromCode(hex, 16) : decimal ? fromCode(decimal, 10) : (named[name] ?? ''),
    );
}

function fromCode(digits: string, base: number): string {
  return String.fromCodePoint(Number.parseInt(digits, base));
}
